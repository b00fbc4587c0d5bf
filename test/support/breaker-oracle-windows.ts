/** What the specification of breakers asks of a list of everything that happened. */

export type Event =
  | { kind: "sample"; atMs: number; ok: number; failed: number; slow: number }
  | { kind: "signs"; atMs: number; used: number; waiting: number }
  | { kind: "told"; atMs: number };

/** Counts of the running second and those before it. */
export function sum(events: Event[], seconds: number, now: number) {
  const recent = events.filter((one) => Math.floor(one.atMs / 1_000) > Math.floor(now / 1_000) - seconds);
  const samples = recent.filter((one) => one.kind === "sample");
  const add = (of: "ok" | "failed" | "slow") => samples.reduce((total, one) => total + one[of], 0);
  return { ok: add("ok"), failed: add("failed"), slow: add("slow") };
}

/** Since the last sign of an answer. */
export function inARow(events: Event[], of: "failed" | "slow"): number {
  let row = 0;
  for (const event of events) {
    if (event.kind === "sample") row = event.ok > 0 ? 0 : row + event[of];
  }
  return row;
}

/**
 * Whether some reading set it and nothing has cleared it since. Set: above the limit in so many different seconds
 * without a reading between that is not. Cleared: below the other limit for long enough, or no reading for 15 s.
 */
export function isOver(
  readings: { atMs: number; value: number }[],
  limits: { above: number; clearBelow: number; samples: number; clearMs: number },
  now: number,
): boolean {
  const next = (at: number) => readings[at + 1]?.atMs ?? now;
  let from = 0;
  for (let at = 0; at < readings.length; at++) if (next(at) - readings[at]!.atMs > 15_000) from = at + 1;
  for (let set = readings.length - 1; set >= from; set--) {
    let first = set;
    while (first > from && readings[first - 1]!.value > limits.above) first -= 1;
    const run = readings.slice(first, set + 1);
    const seconds = new Set(run.map(({ atMs }) => Math.floor(atMs / 1_000)));
    if (readings[set]!.value <= limits.above || seconds.size < limits.samples) continue;
    return !readings.some((reading, at) => {
      if (at <= set || reading.value >= limits.clearBelow) return false;
      const ends = readings.findIndex((later, index) => index > at && later.value >= limits.clearBelow);
      const endMs = ends < 0 ? now : readings[ends]!.atMs;
      return endMs - reading.atMs >= limits.clearMs;
    });
  }
  return false;
}
