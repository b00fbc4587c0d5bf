import { POOL_RECOVERY_MS } from "../../../src/bounds.ts";
import type { ReplicaReport, Tally } from "../../../src/contract/report.ts";
import type { AcquireAsk, Heartbeat, PoolConfig, Work } from "../../../src/routing/messages.ts";
import { Pool, type PoolOptions } from "../../../src/routing/pool.ts";

/** Replicas, heartbeats and requests for tests of a pool; each of a size that matters only where a test says so. */

export const CAP = 2;
export const NOW = POOL_RECOVERY_MS;

export function configOf(concurrencyPerReplica = CAP, more: Partial<PoolConfig> = {}): PoolConfig {
  return { catalogueVersion: 1, concurrencyPerReplica, tokensPerSecond: null, ...more };
}

export function replica(id: string, more: Partial<ReplicaReport> = {}): ReplicaReport {
  return {
    ...{ id, models: ["m"], state: "healthy", inFlight: 0, running: 0, waiting: 0 },
    ...{ kvCacheUsage: 0, gpuMemoryUsage: null, bootId: "boot" },
    ...more,
  };
}

export function beat(
  replicas: readonly ReplicaReport[],
  tallies: readonly Partial<Tally>[] = [],
  config = configOf(),
): Heartbeat {
  const none = { replica: "a", model: "m", ok: 0, failed: 0, slow: 0, overloaded: 0, tokens: 0 };
  return {
    ...{ gate: "g", sequence: 1, draining: false, config, replicas },
    tallies: tallies.map((tally) => ({ ...none, ...tally })),
  };
}

export function ask(id: string, more: Partial<AcquireAsk> = {}): AcquireAsk {
  return { id, config: configOf(), exclude: [], waitMs: 0, ...more };
}

export function work(more: Partial<Work> = {}): Work {
  return {
    ...{ promptTokens: 1_000, outputTokens: 100, blocks: [], blockTokens: 128, tenant: "t", band: "default" },
    ...{ session: null, firstTokenByMs: null, bytes: 1_000 },
    ...more,
  };
}

/** A pool past its recovery, with these replicas heard of just now. */
export function poolOf(
  replicas: readonly ReplicaReport[],
  config = configOf(),
  options: PoolOptions = {},
): Pool {
  const pool = new Pool([], 0, options);
  pool.heartbeat(beat(replicas, [], config), NOW);
  return pool;
}

/** A prompt's block names: the same `text` and length, the same start. */
export function chain(text: number, length: number): number[] {
  return Array.from({ length }, (_, at) => text * 10_000 + at);
}
