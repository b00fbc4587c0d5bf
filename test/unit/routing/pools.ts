import type { Model, Pool } from "../../../src/catalogue.ts";
import type { PoolState } from "../../../src/routing/messages.ts";
import { type Candidate, type RankAsk, rank } from "../../../src/routing/rank.ts";

/** Pools to rank, and what they say of themselves. */

const MODEL: Model = { id: "m", kind: "generate", version: 1, createdAtMs: 0 };
export const PARIS = { latitude: 48.9, longitude: 2.4 };
export const NOW_MS = 1_800_000_000_000;

export function pool(id: string, latitude: number, longitude: number, more: Partial<Pool> = {}): Pool {
  return {
    ...{ id, region: id, position: { latitude, longitude }, hint: "enam", gates: ["http://gate"] },
    ...{ models: [{ model: "m", concurrencyPerReplica: 4 }], drained: false },
    ...{ secretVersion: 1, version: 1, createdAtMs: 0, ...more },
  };
}

/** Fresh, with one usable replica and four permits, `inUse` of them out. */
export function state(id: string, inUse: number, more: Partial<PoolState> = {}): PoolState {
  const view = { state: "healthy", breaker: "closed", permits: 0, running: 0, waiting: 0 } as const;
  return {
    ...{ pool: id, model: "m", epoch: 1, atMs: NOW_MS, capacity: 4, inUse, waiting: 0, colo: null },
    replicas: [{ id: `${id}-0`, usable: true, gpuMemoryUsage: null, kvCacheUsage: 0, ...view }],
    ...more,
  };
}

export function ranked(asked: Partial<RankAsk>): Candidate[] {
  return rank({
    ...{ model: MODEL, pools: [], states: [], client: PARIS, regions: null },
    ...{ band: "default", promptTokens: 0, nowMs: NOW_MS, rtts: new Map(), turned: new Map() },
    ...asked,
  });
}

/** A pool as far away as makes its round trip `rttMs` from Paris, straight north or south. */
export function poolAt(id: string, rttMs: number, more: Partial<Pool> = {}): Pool {
  const km = (rttMs - 4) / 0.015;
  return pool(id, PARIS.latitude - (km / 6_371) * (180 / Math.PI), PARIS.longitude, more);
}

/** Numbers in [0, 1) that are the same for the same seed (mulberry32). */
export function randomFrom(seed: number): () => number {
  let at = seed >>> 0;
  return () => {
    at = (at + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(at ^ (at >>> 15), at | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296;
  };
}
