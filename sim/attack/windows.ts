/** What a budget promises, checked over everything that replicas emitted. */

/** Tokens at an instant, as a replica's ledger has them. */
export type Emitted = readonly [atMs: number, tokens: number];

export interface Found {
  readonly tokens: number;
  /** The most in any window of one minute. */
  readonly inMinute: number;
  /** Over all windows of all lengths T, the most beyond capacity + rate · T; at or below zero: the bound holds. */
  readonly beyond: number;
  /** The length of the window in which that is. */
  readonly worstMs: number;
}

const MINUTE_MS = 60_000;

/**
 * The largest excess over all intervals at once: a meter that drains at the rate stands, at each instant, at the most that
 * any interval which ends there has beyond what was refilled in it.
 */
export function windows(emitted: readonly Emitted[], tokensPerMinute: number): Found {
  const sorted = [...emitted].sort((a, b) => a[0] - b[0]);
  let [level, levelFromMs, beyond, worstMs, inMinute, minute, first] = [0, 0, -tokensPerMinute, 0, 0, 0, 0];
  sorted.forEach(([atMs, tokens], index) => {
    const before = index === 0 ? atMs : sorted[index - 1]![0];
    level -= ((atMs - before) * tokensPerMinute) / MINUTE_MS;
    if (level <= 0) [level, levelFromMs] = [0, atMs];
    level += tokens;
    if (level - tokensPerMinute > beyond) [beyond, worstMs] = [level - tokensPerMinute, atMs - levelFromMs];
    minute += tokens;
    while (sorted[first]![0] <= atMs - MINUTE_MS) minute -= sorted[first++]![1];
    inMinute = Math.max(inMinute, minute);
  });
  const total = sorted.reduce((sum, [, tokens]) => sum + tokens, 0);
  return { tokens: total, inMinute, beyond: Math.ceil(beyond), worstMs };
}
