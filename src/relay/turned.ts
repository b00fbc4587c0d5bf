import { TURNED_MAX } from "../bounds.ts";
import type { Refused } from "../routing/messages.ts";
import type { Turned } from "../routing/rank.ts";

interface Remembered extends Turned {
  readonly atMs: number;
}

/** By `<model>/<pool>`: pools that turned a request of this isolate away. */
const turned = new Map<string, Remembered>();

/**
 * Remembers a pool's refusal, so that the next request does not run into the same wall. Not `no_replica`: that may have
 * been about the replicas which failed one request; nor `too_late`, which is about one request's deadline.
 */
export function rememberTurned(pool: string, model: string, answer: Refused, nowMs: number): void {
  if (answer.reason === "no_replica" || answer.reason === "too_late") return;
  if (turned.size >= TURNED_MAX) turned.clear();
  turned.set(`${model}/${pool}`, { atMs: nowMs, untilMs: nowMs + answer.retryAfterMs });
}

/** Refusals that are newer than a snapshot and not over yet, by pool. A newer snapshot knows better. */
export function turnedSince(
  pools: readonly { readonly id: string }[],
  model: string,
  snapshotAtMs: number,
  nowMs: number,
): ReadonlyMap<string, Turned> {
  return new Map(
    pools.flatMap(({ id }) => {
      const known = turned.get(`${model}/${id}`);
      return known && known.atMs >= snapshotAtMs && known.untilMs > nowMs ? [[id, known] as const] : [];
    }),
  );
}
