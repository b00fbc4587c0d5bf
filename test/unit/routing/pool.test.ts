import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { HEARTBEAT_SILENCE_MAX_MS, PERMIT_TTL_MS, POOL_RECOVERY_MS } from "../../../src/bounds.ts";
import { BREAKER_DEFAULTS } from "../../../src/catalogue.ts";
import type { ReplicaReport, Tally } from "../../../src/contract/report.ts";
import type { AcquireAsk, Heartbeat } from "../../../src/routing/messages.ts";
import { Pool } from "../../../src/routing/pool.ts";

const CAP = 2;
const CONFIG = { catalogueVersion: 1, concurrencyPerReplica: CAP, tokensPerSecond: null };

function replica(id: string, more: Partial<ReplicaReport> = {}): ReplicaReport {
  return {
    id,
    models: ["m"],
    state: "healthy",
    inFlight: 0,
    running: 0,
    waiting: 0,
    kvCacheUsage: 0,
    gpuMemoryUsage: null,
    bootId: "boot",
    ...more,
  };
}

function beat(replicas: ReplicaReport[], tallies: Partial<Tally>[] = []): Heartbeat {
  const none = { replica: "a", model: "m", ok: 0, failed: 0, slow: 0, overloaded: 0, tokens: 0 };
  return {
    gate: "g",
    sequence: 1,
    draining: false,
    config: CONFIG,
    replicas,
    tallies: tallies.map((tally) => ({ ...none, ...tally })),
  };
}

function ask(id: string, more: Partial<AcquireAsk> = {}): AcquireAsk {
  return { id, config: CONFIG, exclude: [], waitMs: 0, ...more };
}

/** A pool past its recovery, with these replicas heard of just now. */
function poolOf(replicas: ReplicaReport[], nowMs = POOL_RECOVERY_MS): Pool {
  const pool = new Pool([], 0);
  pool.heartbeat(beat(replicas), nowMs);
  return pool;
}
const NOW = POOL_RECOVERY_MS;

describe("pool", () => {
  it("gives each request the least loaded replica, and none above its cap (I4)", () => {
    const pool = poolOf([replica("a"), replica("b")]);
    const given = ["1", "2", "3", "4", "5"].map((id) => pool.acquire(ask(id), NOW));
    expect(given.slice(0, 4).map((answer) => (answer.kind === "granted" ? answer.replica : null))).toEqual([
      "a",
      "b",
      "a",
      "b",
    ]);
    expect(given[4]).toMatchObject({ kind: "refused", reason: "full" });
  });

  it("gives the same permit for the same id", () => {
    const pool = poolOf([replica("a"), replica("b")]);
    expect(pool.acquire(ask("1"), NOW)).toEqual(pool.acquire(ask("1"), NOW));
    expect(pool.view(NOW).inUse).toBe(1);
  });

  it("serves those who wait in their order, and forgets who left", () => {
    const pool = poolOf([replica("a")]);
    for (const id of ["1", "2"]) pool.acquire(ask(id), NOW);
    for (const id of ["3", "4", "5"])
      expect(pool.acquire(ask(id, { waitMs: 1_000 }), NOW).kind).toBe("waiting");
    pool.release("4", "client_gone", NOW);
    expect(pool.release("1", "answered", NOW)).toMatchObject([
      { id: "3", answer: { kind: "granted", replica: "a" } },
    ]);
    expect(pool.release("2", "answered", NOW)).toMatchObject([
      { id: "5", answer: { kind: "granted", replica: "a" } },
    ]);
  });

  it("takes back the permits of holders that hang, and tells waiters when their time is up", () => {
    const pool = poolOf([replica("a")]);
    for (const id of ["1", "2"]) pool.acquire(ask(id), NOW);
    pool.acquire(ask("3", { waitMs: 1_000 }), NOW);
    pool.extend("2", "a", NOW + PERMIT_TTL_MS / 2);
    expect(pool.sweep(NOW + 1_000)).toMatchObject([{ id: "3", answer: { kind: "refused" } }]);
    pool.sweep(NOW + PERMIT_TTL_MS);
    expect(pool.view(NOW).inUse).toBe(1);
  });

  it("takes up a permit again that it does not know: it was restarted meanwhile", () => {
    const pool = poolOf([replica("a")]);
    pool.extend("old", "a", NOW);
    expect(pool.view(NOW)).toMatchObject({ inUse: 1 });
    pool.release("old", "answered", NOW);
    expect(pool.view(NOW)).toMatchObject({ inUse: 0 });
  });

  it("counts what the engines say runs while it recovers from a restart", () => {
    const pool = new Pool([replica("a")], 0);
    pool.heartbeat(beat([replica("a", { running: CAP })]), 100);
    expect(pool.acquire(ask("1"), 100)).toMatchObject({ kind: "refused", reason: "full" });
    // Survivors have extended their permits by now; whoever has not is gone, whatever the last heartbeat said.
    pool.heartbeat(beat([replica("a", { running: CAP })]), POOL_RECOVERY_MS);
    expect(pool.acquire(ask("1"), POOL_RECOVERY_MS)).toMatchObject({ kind: "granted" });
  });

  it("is loaded by what the engines say runs, as long as it counts on that", () => {
    const pool = new Pool([], 0);
    pool.heartbeat(beat([replica("a", { running: CAP })]), 100);
    expect(pool.loadShare(100)).toBe(1);
    pool.heartbeat(beat([replica("a", { running: 0 })]), 1_100);
    expect(pool.loadShare(1_100)).toBe(0);
    pool.heartbeat(beat([replica("a", { running: CAP })]), POOL_RECOVERY_MS);
    expect(pool.loadShare(POOL_RECOVERY_MS)).toBe(0);
    expect(new Pool([], 0).loadShare(100)).toBe(0);
  });

  it("uses no replica that is down, draining, excluded or silent", () => {
    const states = [
      replica("a", { state: "down" }),
      replica("b", { state: "draining" }),
      replica("c"),
      replica("d"),
    ];
    const pool = poolOf(states);
    expect(pool.acquire(ask("1", { exclude: ["c"] }), NOW)).toMatchObject({ replica: "d" });
    const silent = NOW + HEARTBEAT_SILENCE_MAX_MS + 1;
    expect(pool.acquire(ask("2"), silent)).toMatchObject({ kind: "refused", reason: "no_replica" });
  });

  it("opens a replica's breaker on five failures in a row, and lets one probe after the other through", () => {
    const pool = poolOf([replica("a")]);
    pool.heartbeat(beat([replica("a")], [{ failed: 5 }]), NOW);
    expect(pool.acquire(ask("1"), NOW)).toMatchObject({ kind: "refused", reason: "no_replica" });
    const later = NOW + 5_000;
    pool.heartbeat(beat([replica("a")]), later);
    for (const id of ["2", "3", "4", "5"]) {
      expect(pool.acquire(ask(id), later)).toMatchObject({ kind: "granted" });
      expect(pool.acquire(ask("another"), later)).toMatchObject({ kind: "refused" });
      pool.release(id, "answered", later);
    }
    expect(pool.view(later)).toMatchObject({ replicas: [{ breaker: "closed", limit: 1 }] });
    const ramped = later + 15_000;
    pool.heartbeat(beat([replica("a")]), ramped);
    expect(pool.view(ramped)).toMatchObject({ replicas: [{ breaker: "closed", limit: CAP }] });
  });

  it("opens by the settings of its model, which heartbeats bring", () => {
    const pool = poolOf([replica("a")]);
    const errorRate = { above: 0.5, windowSeconds: 10, samplesMin: 20, inARow: 2 };
    const strict = { ...BREAKER_DEFAULTS, errorRate };
    pool.heartbeat(
      { ...beat([replica("a")], [{ failed: 2 }]), config: { ...CONFIG, breakers: strict } },
      NOW,
    );
    expect(pool.view(NOW).replicas).toMatchObject([{ breaker: "open" }]);
    const never = poolOf([replica("a")]);
    const off = { ...BREAKER_DEFAULTS, errorRate: null };
    never.heartbeat({ ...beat([replica("a")], [{ failed: 50 }]), config: { ...CONFIG, breakers: off } }, NOW);
    expect(never.view(NOW).replicas).toMatchObject([{ breaker: "closed" }]);
  });

  it("probes a replica on which long streams still run, as far as the cap allows (I4)", () => {
    const pool = poolOf([replica("a")]);
    for (const id of ["1", "2"]) expect(pool.acquire(ask(id), NOW)).toMatchObject({ kind: "granted" });
    pool.heartbeat(beat([replica("a")], [{ failed: 5 }]), NOW);
    pool.heartbeat(beat([replica("a")]), NOW + 5_000);
    expect(pool.acquire(ask("3"), NOW + 5_000)).toMatchObject({ kind: "refused" });
    pool.release("1", "failed", NOW + 5_000);
    expect(pool.acquire(ask("3"), NOW + 5_000)).toMatchObject({ kind: "granted" });
    expect(pool.acquire(ask("4"), NOW + 5_000)).toMatchObject({ kind: "refused" });
  });

  it("lets a replica that came back as another process prove itself at once", () => {
    const pool = poolOf([replica("a")]);
    pool.heartbeat(beat([replica("a")], [{ failed: 5 }]), NOW);
    pool.heartbeat(beat([replica("a", { bootId: "next" })]), NOW);
    expect(pool.acquire(ask("1"), NOW)).toMatchObject({ kind: "granted" });
    expect(pool.acquire(ask("2"), NOW)).toMatchObject({ kind: "refused" });
  });

  it("refuses while more tokens flow than the pool may serve, and says for how long", () => {
    const pool = poolOf([replica("a")]);
    const config = { catalogueVersion: 2, concurrencyPerReplica: CAP, tokensPerSecond: 100 };
    pool.release("1", "answered", NOW);
    expect(pool.acquire(ask("1", { config }), NOW)).toMatchObject({ kind: "granted" });
    pool.heartbeat(beat([replica("a")], [{ tokens: 300 }]), NOW);
    expect(pool.acquire(ask("2", { config }), NOW)).toMatchObject({
      reason: "too_many_tokens",
      retryAfterMs: 2_000,
    });
    expect(pool.acquire(ask("2", { config }), NOW + 2_000)).toMatchObject({ kind: "granted" });
  });

  it("never has more permits out than its capacity, whatever happens (I4)", () => {
    const event = fc.oneof(
      fc.record({ kind: fc.constant("acquire" as const), id: fc.nat(20), waitMs: fc.constantFrom(0, 500) }),
      fc.record({ kind: fc.constant("release" as const), id: fc.nat(20) }),
      fc.record({ kind: fc.constant("sweep" as const), ms: fc.nat(5_000) }),
    );
    fc.assert(
      fc.property(fc.array(event, { maxLength: 200 }), (events) => {
        const pool = poolOf([replica("a"), replica("b"), replica("c")]);
        let nowMs = NOW;
        for (const each of events) {
          if (each.kind === "acquire") pool.acquire(ask(String(each.id), { waitMs: each.waitMs }), nowMs);
          if (each.kind === "release") pool.release(String(each.id), "answered", nowMs);
          if (each.kind === "sweep") {
            nowMs += each.ms;
            pool.heartbeat(beat([replica("a"), replica("b"), replica("c")]), nowMs);
            pool.sweep(nowMs);
          }
          const { replicas, inUse, waiting } = pool.view(nowMs);
          for (const view of replicas) expect(view.permits).toBeLessThanOrEqual(CAP);
          expect(replicas.reduce((sum, view) => sum + view.permits, 0)).toBe(inUse);
          expect(waiting > 0 && inUse < 3 * CAP, "nobody waits while there is room").toBe(false);
        }
      }),
    );
  });
});
