import { describe, expect, it } from "vitest";
import { HEARTBEAT_SILENCE_MAX_MS, POOL_RECOVERY_MS } from "../../../src/bounds.ts";
import type { ReplicaReport } from "../../../src/contract/report.ts";
import type { AcquireAsk, Heartbeat } from "../../../src/routing/messages.ts";
import { Pool } from "../../../src/routing/pool.ts";

const CONFIG = { catalogueVersion: 1, concurrencyPerReplica: 2, tokensPerSecond: null };
const NOW = POOL_RECOVERY_MS;

function beat(replicas: readonly Partial<ReplicaReport>[]): Heartbeat {
  const well = { models: ["m"], inFlight: 0, running: 0, waiting: 0, kvCacheUsage: 0 };
  return {
    ...{ gate: "g", sequence: 1, draining: false, config: CONFIG, tallies: [] },
    replicas: replicas.map((one) => ({
      ...{ id: "a", ...well, state: "healthy", gpuMemoryUsage: null, bootId: "b" },
      ...one,
    })),
  };
}

const ask = (id: string): AcquireAsk => ({ id, config: CONFIG, exclude: [], waitMs: 0 });

/** A stream runs at `a`, which then leaves in some way. */
function running(): Pool {
  const pool = new Pool([], 0);
  pool.heartbeat(beat([{}]), NOW);
  expect(pool.acquire(ask("stream"), NOW)).toMatchObject({ kind: "granted", replica: "a" });
  return pool;
}

describe("a replica that leaves", () => {
  it("takes nothing new when it drains, and its streams keep their permits until they end", () => {
    const pool = running();
    pool.heartbeat(beat([{ state: "draining" }]), NOW + 1);
    expect(pool.acquire(ask("new"), NOW + 1)).toMatchObject({ kind: "refused", reason: "no_replica" });
    expect(pool.view(NOW + 1).inUse).toBe(1);
    pool.extend("stream", "a", NOW + 20_000);
    pool.release("stream", "answered", NOW + 30_000);
    expect(pool.view(NOW + 30_000).inUse).toBe(0);
  });

  it("is drained when gates no longer speak of it, and forgotten after its last stream", () => {
    const pool = running();
    const silentMs = NOW + HEARTBEAT_SILENCE_MAX_MS + 1;
    pool.heartbeat(beat([{ id: "b" }]), silentMs);
    expect(pool.acquire(ask("new"), silentMs)).toMatchObject({ kind: "granted", replica: "b" });
    const laterMs = NOW + 7 * HEARTBEAT_SILENCE_MAX_MS;
    pool.extend("stream", "a", silentMs);
    pool.extend("stream", "a", laterMs - 1);
    pool.heartbeat(beat([{ id: "b" }]), laterMs);
    pool.sweep(laterMs);
    expect(pool.view(laterMs).replicas.map(({ id }) => id)).toContain("a");
    pool.release("stream", "answered", laterMs);
    pool.sweep(laterMs + 1);
    expect(pool.view(laterMs + 1).replicas.map(({ id }) => id)).toEqual(["b"]);
  });

  it("is taken up again when gates speak of it again", () => {
    const pool = running();
    const silentMs = NOW + HEARTBEAT_SILENCE_MAX_MS + 1;
    expect(pool.acquire(ask("new"), silentMs)).toMatchObject({ kind: "refused" });
    pool.heartbeat(beat([{}]), silentMs);
    expect(pool.acquire(ask("new"), silentMs)).toMatchObject({ kind: "granted", replica: "a" });
  });
});
