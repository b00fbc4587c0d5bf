import type { Pool } from "../catalogue.ts";
import type { PoolState } from "./messages.ts";

/**
 * Whether other pools could take a model's work from this one: one of them has a permit left, and without this pool at
 * least half of the model's capacity still serves. As its last pool, or its largest, it goes on however full it is.
 */
export function roomElsewhere(
  pool: string,
  model: string,
  states: readonly PoolState[],
  pools: readonly Pool[],
): boolean {
  const drained = new Set(pools.filter((one) => one.drained).map(({ id }) => id));
  const all = states.filter((state) => state.model === model && !drained.has(state.pool));
  const others = all.filter((state) => state.pool !== pool && (state.breaker ?? "closed") === "closed");
  const hasRoom = others.some(({ capacity, inUse, waiting }) => inUse + waiting < capacity);
  return hasRoom && 2 * capacityOf(others) >= capacityOf(all);
}

function capacityOf(states: readonly PoolState[]): number {
  return states.reduce((sum, { capacity }) => sum + capacity, 0);
}
