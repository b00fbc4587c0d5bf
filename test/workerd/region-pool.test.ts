import { abortAllDurableObjects, evictDurableObject, runInDurableObject } from "cloudflare:test";
import { env as bindings } from "cloudflare:workers";
import { afterEach, beforeEach, describe, test, vi } from "vitest";
import {
  HEARTBEAT_SILENCE_MAX_MS,
  PERMIT_TTL_MS,
  POOL_RECOVERY_MS,
  POOL_SAVE_MS,
  PREFILL_AHEAD_MAX_TOKENS,
} from "../../src/bounds.ts";
import type { ReplicaReport } from "../../src/contract/report.ts";
import {
  type AcquiredStub,
  type PermitStub,
  type RegionPoolStub,
  regionPool,
} from "../../src/durable/stub.ts";
import type { Env } from "../../src/env.ts";
import type { AcquireAsk, Work } from "../../src/routing/messages.ts";

const env = bindings as unknown as Env;
/** The objects and this test read the same clock: it is set, never waited for. */
let nowMs = 0;
beforeEach(() => {
  nowMs = 1_800_000_000_000;
  vi.spyOn(Date, "now").mockImplementation(() => nowMs);
});
afterEach(() => {
  vi.restoreAllMocks();
});

function report(id: string, more: Partial<ReplicaReport> = {}): ReplicaReport {
  return {
    ...{ id, models: ["m"], state: "healthy", inFlight: 0, running: 0, waiting: 0 },
    ...{ kvCacheUsage: 0, gpuMemoryUsage: null, bootId: "1" },
    ...more,
  };
}

/** A pool of its own, of one replica with room for `concurrency` requests unless more are named. */
async function pool(concurrency = 1, replicas = [report("r0")]) {
  const name = `pool-${crypto.randomUUID().slice(0, 8)}`;
  const reach = (): RegionPoolStub => regionPool(env, name, "enam", "m");
  let sequence = 0;
  const config = { catalogueVersion: 1, concurrencyPerReplica: concurrency, tokensPerSecond: null };
  const beat = (reports = replicas) =>
    reach().heartbeat({
      ...{ gate: "g", sequence: ++sequence, draining: false, config },
      ...{ replicas: reports, tallies: [] },
    });
  const ask = (id: string, waitMs = 0): AcquireAsk => ({
    id,
    config,
    exclude: [],
    waitMs,
  });
  const acquire = (id: string, waitMs = 0) => reach().acquire(ask(id, waitMs));
  const load = async () => {
    const { inUse, waiting } = await reach().state();
    return { inUse, waiting };
  };
  const stub = env.REGION_POOL.getByName(`${name}/enam/m/0`);
  await beat();
  return { reach, beat, ask, acquire, load, stub };
}

function permitOf(acquired: AcquiredStub): PermitStub {
  if (!("permit" in acquired)) throw new Error(`no permit: ${JSON.stringify(acquired.answer)}`);
  return acquired.permit;
}

function waitOf(acquired: AcquiredStub) {
  if (!("wait" in acquired)) throw new Error(`does not wait: ${JSON.stringify(acquired.answer)}`);
  return acquired.wait;
}

/** Drops the caller's hold, as the end of its session does. */
function endSession(permit: PermitStub): void {
  (permit as unknown as Disposable)[Symbol.dispose]();
}

describe("a permit", () => {
  test("asked for twice is one permit", async ({ expect }) => {
    const { acquire, load } = await pool(2);
    const [first, second] = [await acquire("a"), await acquire("a")];
    expect(first.answer).toMatchObject({ kind: "granted", replica: "r0" });
    expect(second.answer).toEqual(first.answer);
    expect(await load()).toEqual({ inUse: 1, waiting: 0 });
    await permitOf(first).release("answered");
    expect(await load()).toEqual({ inUse: 0, waiting: 0 });
  });

  test("given back twice, and then by its session's end, is given back once", async ({ expect }) => {
    const { acquire, load } = await pool(2);
    const mine = permitOf(await acquire("a"));
    await acquire("b");
    await mine.release("answered");
    await mine.release("failed");
    endSession(mine);
    await vi.waitFor(async () => expect(await load()).toEqual({ inUse: 1, waiting: 0 }));
  });

  test("comes back when its caller's session ends without a word", async ({ expect }) => {
    const { acquire, load } = await pool();
    const permit = permitOf(await acquire("a"));
    expect((await acquire("b")).answer).toMatchObject({ kind: "refused", reason: "full" });
    endSession(permit);
    await vi.waitFor(async () => expect(await load()).toEqual({ inUse: 0, waiting: 0 }));
    expect((await acquire("b")).answer).toMatchObject({ kind: "granted" });
  });

  test("is swept after its time, and one that is extended is not", async ({ expect }) => {
    const { acquire, load, beat } = await pool(3);
    const [silent, alive] = [permitOf(await acquire("silent")), permitOf(await acquire("alive"))];
    nowMs += PERMIT_TTL_MS - 1;
    await alive.extend("r0");
    expect(await load()).toEqual({ inUse: 2, waiting: 0 });
    nowMs += 1;
    expect(await load()).toEqual({ inUse: 1, waiting: 0 });
    // Its holder lives after all: it is taken up again, and given back once.
    await silent.extend("r0");
    expect(await load()).toEqual({ inUse: 2, waiting: 0 });
    await silent.release("answered");
    await alive.release("answered");
    await beat();
    expect(await load()).toEqual({ inUse: 0, waiting: 0 });
  });

  test("of a replica that is forgotten and comes back is counted once", async ({ expect }) => {
    const { acquire, reach, beat } = await pool(2);
    const permit = permitOf(await acquire("a"));
    nowMs += 7 * HEARTBEAT_SILENCE_MAX_MS;
    expect((await reach().state()).replicas).toEqual([]);
    await permit.extend("r0");
    await beat();
    expect((await reach().state()).replicas).toMatchObject([{ id: "r0", permits: 1 }]);
    await permit.release("answered");
    expect((await reach().state()).replicas).toMatchObject([{ id: "r0", permits: 0 }]);
  });
});

describe("who waits", () => {
  test("is granted in order of arrival, each when a permit comes back", async ({ expect }) => {
    const { acquire, load } = await pool();
    const holder = permitOf(await acquire("holder"));
    const [first, second] = [await acquire("first", 10_000), await acquire("second", 10_000)];
    expect(await load()).toEqual({ inUse: 1, waiting: 2 });
    const granted: string[] = [];
    const told = [first, second].map(async (acquired, index) => {
      const answer = await waitOf(acquired).granted();
      granted.push(`${index}: ${answer.kind}`);
    });
    await holder.release("answered");
    await told[0];
    expect(granted).toEqual(["0: granted"]);
    expect(await load()).toEqual({ inUse: 1, waiting: 1 });
    await permitOf(first).release("answered");
    await told[1];
    expect(granted).toEqual(["0: granted", "1: granted"]);
    await permitOf(second).release("answered");
    expect(await load()).toEqual({ inUse: 0, waiting: 0 });
  });

  test("is granted when a replica comes", async ({ expect }) => {
    const { acquire, beat } = await pool();
    await acquire("holder");
    const waiter = await acquire("waiter", 10_000);
    await beat([report("r0"), report("r1")]);
    expect(await waitOf(waiter).granted()).toMatchObject({ kind: "granted", replica: "r1" });
  });

  test("leaves the queue by releasing, or with its session", async ({ expect }) => {
    const { acquire, load } = await pool();
    const holder = permitOf(await acquire("holder"));
    const [polite, gone] = [await acquire("polite", 10_000), await acquire("gone", 10_000)];
    const told = waitOf(polite).granted();
    await permitOf(polite).release("client_gone");
    expect(await told).toMatchObject({ kind: "refused" });
    endSession(permitOf(gone));
    await vi.waitFor(async () => expect(await load()).toEqual({ inUse: 1, waiting: 0 }));
    await holder.release("answered");
    expect(await load()).toEqual({ inUse: 0, waiting: 0 });
  });

  test("is told when its time is over", async ({ expect }) => {
    const { acquire, load } = await pool();
    await acquire("holder");
    const told = waitOf(await acquire("waiter", 5_000)).granted();
    nowMs += 5_000;
    expect(await load()).toEqual({ inUse: 1, waiting: 0 });
    expect(await told).toMatchObject({ kind: "refused", reason: "waited_too_long" });
  });
});

describe("a pool that knows what prompts cost", () => {
  const work: Work = {
    ...{ promptTokens: 20_000, outputTokens: 10, blocks: [1, 2, 3], blockTokens: 5_000, tenant: "t" },
    ...{ band: "default", session: null, firstTokenByMs: null, bytes: 80_000 },
  };

  test("holds the next back until the first token, and tells how long it may take", async ({ expect }) => {
    const { ask, reach, load } = await pool(8);
    const first = permitOf(await reach().acquire({ ...ask("first"), work }));
    const second = await reach().acquire({ ...ask("second", 10_000), work: { ...work, blocks: [9] } });
    // At 10 tokens a millisecond, which is assumed where nothing was measured.
    const predictedWaitMs = expect.closeTo((work.promptTokens - PREFILL_AHEAD_MAX_TOKENS) / 10, -1);
    expect(second.answer).toMatchObject({ kind: "waiting", predictedWaitMs });
    const told = waitOf(second).granted();
    expect(await load()).toEqual({ inUse: 1, waiting: 1 });
    await first.started();
    expect(await told).toMatchObject({ kind: "granted", replica: "r0" });
  });

  test("remembers what is cached where, over its end", async ({ expect }) => {
    const { ask, reach, beat } = await pool(8, [report("r0"), report("r1")]);
    const first = await reach().acquire({ ...ask("first"), work, exclude: ["r0"] });
    await permitOf(first).started();
    await permitOf(first).release("answered");
    nowMs += POOL_SAVE_MS;
    await beat();
    await abortAllDurableObjects();
    const next = await reach().acquire({ ...ask("next"), work });
    expect(next.answer).toMatchObject({ kind: "granted", replica: "r1", cachedTokens: 15_000 });
  });
});

describe("a pool that restarts", () => {
  test("remembers its replicas, and admits no more than what does not run already", async ({ expect }) => {
    const replicas = [report("r0"), report("r1")];
    const { reach, acquire, beat, load } = await pool(2, replicas);
    const held = [await acquire("a"), await acquire("b"), await acquire("c"), await acquire("d")].map(
      permitOf,
    );
    const { epoch } = await reach().state();
    await abortAllDurableObjects();

    expect(await load()).toEqual({ inUse: 0, waiting: 0 });
    expect((await reach().state()).replicas.map(({ id }) => id)).toEqual(["r0", "r1"]);
    expect((await reach().state()).epoch).toBeGreaterThan(epoch);
    // The streams of before still run, and the engines say so.
    await beat([report("r0", { running: 2 }), report("r1", { running: 1 })]);
    expect((await acquire("e")).answer).toMatchObject({ kind: "granted", replica: "r1" });
    await beat([report("r0", { running: 2 }), report("r1", { running: 2 })]);
    expect((await acquire("f")).answer).toMatchObject({ kind: "refused", reason: "full" });
    // Their sessions went with the object; nothing that they do now can confuse the new one.
    await Promise.allSettled(held.map((permit) => permit.extend("r0")));
    await Promise.allSettled(held.map((permit) => permit.release("answered")));
    expect(await load()).toEqual({ inUse: 1, waiting: 0 });

    // After a while it trusts its own counts again: engines may be behind by a second.
    nowMs += POOL_RECOVERY_MS;
    await beat([report("r0", { running: 2 }), report("r1", { running: 2 })]);
    expect((await acquire("g")).answer).toMatchObject({ kind: "granted" });
  });

  test("tells at once when engines have room that it took for full", async ({ expect }) => {
    const { reach, beat } = await pool(2);
    const { epoch } = await reach().state();
    await beat([report("r0", { running: 2 })]);
    const full = await reach().state();
    await beat();
    const idle = await reach().state();
    expect([full.epoch > epoch, idle.epoch > full.epoch]).toEqual([true, true]);
  });

  test("serves before the first heartbeat from what it remembers", async ({ expect }) => {
    const { acquire, stub } = await pool();
    await evictDurableObject(stub);
    expect((await acquire("a")).answer).toMatchObject({ kind: "granted", replica: "r0" });
  });
});

test("replicas that fell silent, are down or are excluded take nothing", async ({ expect }) => {
  const { acquire, beat, reach } = await pool(1, [report("r0"), report("r1", { state: "down" })]);
  const excluded = { exclude: ["r0"], id: "x", waitMs: 1_000 };
  const config = { catalogueVersion: 1, concurrencyPerReplica: 1, tokensPerSecond: null };
  expect((await reach().acquire({ ...excluded, config })).answer).toMatchObject({ reason: "no_replica" });
  nowMs += HEARTBEAT_SILENCE_MAX_MS + 1;
  expect((await acquire("a")).answer).toMatchObject({ kind: "refused", reason: "no_replica" });
  await beat();
  expect((await acquire("a")).answer).toMatchObject({ kind: "granted", replica: "r0" });
});

test("permits cost no row", async ({ expect }) => {
  const { acquire, stub } = await pool(4);
  const written = () => runInDurableObject(stub, (_, { storage }) => storage.sql.databaseSize);
  const before = await written();
  const spied = await runInDurableObject(stub, (_, { storage }) => vi.spyOn(storage.sql, "exec"));
  for (const id of ["a", "b", "c"]) await permitOf(await acquire(id)).release("answered");
  expect(spied).not.toHaveBeenCalled();
  expect(await written()).toBe(before);
});
