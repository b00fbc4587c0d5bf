import type { Model, Pool } from "../catalogue.ts";
import { distanceKm, expectedRttMs, type Position } from "./geo.ts";
import type { PoolState } from "./messages.ts";

/** One pool that a request may run in, or why it may not. Best first; `explain` shows the same list. */
export interface Candidate {
  readonly pool: Pool;
  readonly concurrencyPerReplica: number;
  readonly distanceKm: number;
  readonly rttMs: number;
  /** Expected wait for a permit, from the pool's last word. */
  readonly waitMs: number;
  /** What the ranking goes by: time to first token as far as it differs between pools. */
  readonly predictedMs: number;
  /** Free permits as a share of capacity, 0 … 1; null when the pool has not been heard of. */
  readonly headroom: number | null;
  readonly state: PoolState | null;
  readonly excluded: Exclusion | null;
}

export type Exclusion = "drained" | "residency" | "no_replica";

export interface RankAsk {
  readonly model: Model;
  readonly pools: readonly Pool[];
  readonly states: readonly PoolState[];
  readonly client: Position;
  /** Regions that the tenant's requests may run in; null: any. */
  readonly regions: readonly string[] | null;
}

/** Assumed time that one running request takes to end, where nothing better is known. */
const SERVICE_TIME_MS = 2_000;

/**
 * Every pool that serves the model, the ones that may take the request first, by predicted time to first token.
 * Pools within a tenth of each other go by headroom, so that one of two equals is not run full.
 */
export function rank(ask: RankAsk): Candidate[] {
  const candidates = ask.pools.flatMap((pool) => candidate(pool, ask) ?? []);
  return candidates.sort(
    (one, other) => Number(one.excluded !== null) - Number(other.excluded !== null) || compare(one, other),
  );
}

function compare(one: Candidate, other: Candidate): number {
  const near =
    Math.abs(one.predictedMs - other.predictedMs) <= 0.1 * Math.min(one.predictedMs, other.predictedMs);
  if (!near) return one.predictedMs - other.predictedMs;
  return (other.headroom ?? 0) - (one.headroom ?? 0) || one.predictedMs - other.predictedMs;
}

function candidate(pool: Pool, ask: RankAsk): Candidate | null {
  const served = pool.models.find(({ model }) => model === ask.model.id);
  if (!served) return null;
  const state = ask.states.find((known) => known.pool === pool.id && known.model === ask.model.id) ?? null;
  const km = distanceKm(ask.client, pool.position);
  const rttMs = expectedRttMs(km);
  const waitMs = state === null ? 0 : expectedWaitMs(state);
  return {
    pool,
    concurrencyPerReplica: served.concurrencyPerReplica,
    distanceKm: Math.round(km),
    rttMs: Math.round(rttMs),
    waitMs,
    predictedMs: rttMs + waitMs,
    headroom: state && state.capacity > 0 ? Math.max(0, 1 - state.inUse / state.capacity) : null,
    state,
    excluded: exclusion(pool, state, ask.regions),
  };
}

function exclusion(pool: Pool, state: PoolState | null, regions: readonly string[] | null): Exclusion | null {
  if (pool.drained) return "drained";
  if (regions !== null && !regions.includes(pool.region)) return "residency";
  if (state !== null && !state.replicas.some((replica) => replica.usable)) return "no_replica";
  return null;
}

/** A full pool frees a place every service time over its capacity; those who wait already go first. */
function expectedWaitMs(state: PoolState): number {
  if (state.capacity === 0 || state.inUse < state.capacity) return 0;
  return Math.round(((state.waiting + 1) * SERVICE_TIME_MS) / state.capacity);
}
