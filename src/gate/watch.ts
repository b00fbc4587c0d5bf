/**
 * When a request must be given up. One timer per request asks `due` and sleeps until the answer: thousands of
 * streams would otherwise set and clear a timer for every token.
 */
export interface Watch {
  /** Instants in monotonic milliseconds. */
  startedAtMs: number;
  deadlineAtMs: number;
  /** When the next sign of life to the edge is due, or null once none is needed. */
  bridgeAtMs: number | null;
  /** Null where there is no first token to wait for before the end (one JSON that the engine generates). */
  firstTokenTimeoutMs: number | null;
  tokenGapTimeoutMs: number;
  firstTokenAtMs: number | null;
  lastTokenAtMs: number;
  /** When it counts as slow; null where it cannot any more, or did already. */
  slowAtMs: number | null;
  /** The edge does not read: silence is then ours, not the engine's. */
  paused: boolean;
}

export type Due =
  | { readonly tag: "slow" | "deadline" | "first_token_timeout" | "token_gap_timeout" | "bridge" }
  | { readonly tag: "wait"; readonly ms: number };

/**
 * What is due at `nowMs`: that it is slow, which ends nothing; then the deadline, the engine's silence, a sign of life.
 */
export function due(watch: Watch, nowMs: number): Due {
  if (watch.slowAtMs !== null && nowMs >= watch.slowAtMs) return { tag: "slow" };
  if (nowMs >= watch.deadlineAtMs) return { tag: "deadline" };
  let nextMs = Math.min(watch.deadlineAtMs, watch.slowAtMs ?? Infinity);
  if (watch.firstTokenAtMs === null && watch.firstTokenTimeoutMs !== null) {
    const atMs = watch.startedAtMs + watch.firstTokenTimeoutMs;
    if (nowMs >= atMs) return { tag: "first_token_timeout" };
    nextMs = Math.min(nextMs, atMs);
  }
  if (watch.firstTokenAtMs !== null && !watch.paused) {
    const atMs = watch.lastTokenAtMs + watch.tokenGapTimeoutMs;
    if (nowMs >= atMs) return { tag: "token_gap_timeout" };
    nextMs = Math.min(nextMs, atMs);
  }
  if (watch.bridgeAtMs !== null) {
    if (nowMs >= watch.bridgeAtMs) return { tag: "bridge" };
    nextMs = Math.min(nextMs, watch.bridgeAtMs);
  }
  return { tag: "wait", ms: nextMs - nowMs };
}
