/**
 * How fast one replica begins answers, from what its engine counts: for how long a request that comes now would wait
 * there (Little's law: those ahead over the rate at which they go). Seen from the engine, so whoever sent them counts.
 */
export interface Pace {
  /** First tokens that the engine has counted, and when that was seen. */
  readonly firstTokens: number;
  readonly atMs: number;
  readonly waiting: number;
  /** Requests that it begins to answer each second when it has no time to spare; null before one was seen. */
  readonly perSecond: number | null;
}

/** Of each second in which requests waited throughout. */
const NEWEST_SHARE = 0.3;

/** What is known after one more look; an engine that counts less than before is another process. */
export function paced(before: Pace | null, firstTokens: number, waiting: number, nowMs: number): Pace {
  const look = { firstTokens, atMs: nowMs, waiting };
  if (before === null || firstTokens < before.firstTokens) return { ...look, perSecond: null };
  const seconds = (nowMs - before.atMs) / 1_000;
  if (seconds <= 0) return before;
  const seen = (firstTokens - before.firstTokens) / seconds;
  const known = before.perSecond;
  // While nobody waits an engine does as much as is asked of it: no more than a lower bound of what it can.
  const isBusy = waiting > 0 && before.waiting > 0;
  const mean = known === null ? seen : known + NEWEST_SHARE * (seen - known);
  const perSecond = isBusy ? mean : Math.max(known ?? 0, seen);
  return { ...look, perSecond: perSecond > 0 ? perSecond : null };
}

/** Seconds until the first token of a request that comes now; null where nothing was ever begun and some wait. */
export function waitSeconds({ waiting, perSecond }: Pace): number | null {
  if (waiting === 0) return 0;
  return perSecond === null ? null : waiting / perSecond;
}
