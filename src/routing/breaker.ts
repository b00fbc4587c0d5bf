import type { BreakerState } from "./messages.ts";

/**
 * A three-state circuit breaker over one replica. Opens on more failures than successes in ten seconds (at least
 * 20 samples) or on five failures in a row; after a pause lets one request probe; a success closes it, a failure
 * reopens it for twice as long.
 */
export interface Breaker {
  readonly state: BreakerState;
  /** Counts of the last ten seconds, one bucket a second. */
  readonly buckets: readonly { readonly second: number; readonly ok: number; readonly failed: number }[];
  readonly failuresInARow: number;
  readonly openUntilMs: number;
  readonly timesOpened: number;
}

export const CLOSED: Breaker = {
  state: "closed",
  buckets: [],
  failuresInARow: 0,
  openUntilMs: 0,
  timesOpened: 0,
};

const WINDOW_SECONDS = 10;
const SAMPLES_MIN = 20;
const FAILURES_IN_A_ROW = 5;
const OPEN_BASE_MS = 5_000;
const OPEN_MAX_MS = 300_000;

/** The breaker after some requests ended: `ok` and `failed` since the last tally. */
export function tallied(breaker: Breaker, ok: number, failed: number, nowMs: number): Breaker {
  if (ok + failed === 0) return breaker;
  if (breaker.state === "half_open") return failed > 0 ? opened(breaker, nowMs) : CLOSED;
  if (breaker.state === "open") return breaker;
  const second = Math.floor(nowMs / 1_000);
  const recent = breaker.buckets.filter((bucket) => bucket.second > second - WINDOW_SECONDS);
  const last = recent.at(-1);
  const buckets =
    last?.second === second
      ? [...recent.slice(0, -1), { second, ok: last.ok + ok, failed: last.failed + failed }]
      : [...recent, { second, ok, failed }];
  const failuresInARow = ok > 0 ? 0 : breaker.failuresInARow + failed;
  const next: Breaker = { ...breaker, buckets, failuresInARow };
  const failures = buckets.reduce((sum, bucket) => sum + bucket.failed, 0);
  const samples = failures + buckets.reduce((sum, bucket) => sum + bucket.ok, 0);
  const tooMany = samples >= SAMPLES_MIN && failures * 2 > samples;
  return tooMany || failuresInARow >= FAILURES_IN_A_ROW ? opened(next, nowMs) : next;
}

/** Whether a request may go there now; an open breaker whose pause is over becomes half open for one probe. */
export function admits(breaker: Breaker, probing: boolean, nowMs: number): boolean {
  if (breaker.state === "closed") return true;
  if (breaker.state === "open" && nowMs < breaker.openUntilMs) return false;
  return !probing;
}

/** Called when a request is sent to a replica whose breaker is not closed. */
export function probed(breaker: Breaker): Breaker {
  return breaker.state === "closed" ? breaker : { ...breaker, state: "half_open" };
}

function opened(breaker: Breaker, nowMs: number): Breaker {
  const pauseMs = Math.min(OPEN_BASE_MS * 2 ** breaker.timesOpened, OPEN_MAX_MS);
  return {
    state: "open",
    buckets: [],
    failuresInARow: 0,
    openUntilMs: nowMs + pauseMs,
    timesOpened: breaker.timesOpened + 1,
  };
}
