import { abortAllDurableObjects, evictDurableObject } from "cloudflare:test";
import { env as bindings } from "cloudflare:workers";
import { afterEach, beforeEach, describe, test, vi } from "vitest";
import { CATALOGUE_POLL_MS, POOL_PUBLISH_MIN_GAP_MS } from "../../src/bounds.ts";
import { LOCATION_HINTS, type LocationHint } from "../../src/catalogue.ts";
import type { ReplicaReport } from "../../src/contract/report.ts";
import { Registry } from "../../src/durable/registry.ts";
import { type DirectoryStub, directory, regionPool, registry } from "../../src/durable/stub.ts";
import type { Env } from "../../src/env.ts";
import { pooledCells } from "../../src/routing/cells.ts";
import type { PoolState } from "../../src/routing/messages.ts";
import { by, made } from "./registry-rig.ts";

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

/** Each test has a location of its own; the registry is one for all. */
const hints = [...LOCATION_HINTS];
function fresh(): { at: LocationHint; read: DirectoryStub; stub: DurableObjectStub } {
  const at = hints.pop()!;
  return { at, read: directory(env, at), stub: env.DIRECTORY.getByName(at) };
}

const control = () => registry(env) as unknown as Registry;

/** A model and a pool that serves it. */
async function served(name: string): Promise<void> {
  made(await control().createModel(by(), { id: `model-${name}`, kind: "generate" }));
  made(
    await control().createPool(by(), {
      ...{ id: `pool-${name}`, region: "eu-west", hint: "weur", drained: false },
      position: { latitude: 50, longitude: 8 },
      gates: ["https://gate.example.com"],
      models: [{ model: `model-${name}`, concurrencyPerReplica: 4 }],
    }),
  );
}

function beat(name: string, replicas: readonly ReplicaReport["state"][]): Promise<void> {
  return regionPool(env, `pool-${name}`, "weur", `model-${name}`).heartbeat({
    ...{ gate: "g", sequence: 1, draining: false, tallies: [] },
    config: { catalogueVersion: 1, concurrencyPerReplica: 4, tokensPerSecond: null },
    replicas: replicas.map((state, index) => ({
      ...{ id: `r${index}`, models: [`model-${name}`], state, inFlight: 0, running: 0, waiting: 0 },
      ...{ kvCacheUsage: 0, gpuMemoryUsage: null, bootId: "1" },
    })),
  });
}

function word(name: string, epoch: number, inUse: number): PoolState {
  return {
    ...{ pool: `pool-${name}`, model: `model-${name}`, epoch, inUse, atMs: nowMs },
    ...{ replicas: [], capacity: 8, waiting: 0, colo: null },
  };
}

const wordOn = async (read: DirectoryStub, name: string) =>
  (await read.snapshot(-1)).pools.find(({ pool }) => pool === `pool-${name}`);

describe("a snapshot", () => {
  test("has the catalogue, and the state of every pool that was asked", async ({ expect }) => {
    await served("first");
    await beat("first", ["healthy", "down"]);
    const { read } = fresh();
    const { catalogue, catalogueVersion, pools } = await read.snapshot(-1);
    expect(catalogue!.version).toBe(catalogueVersion);
    expect(catalogue!.models.map(({ id }) => id)).toContain("model-first");
    expect(pools.find(({ pool }) => pool === "pool-first")).toMatchObject({
      model: "model-first",
      capacity: 4,
      replicas: [
        { id: "r0", usable: true },
        { id: "r1", usable: false },
      ],
    });
  });

  test("sends the catalogue only to those who do not have it", async ({ expect }) => {
    await served("again");
    const { read } = fresh();
    const { catalogueVersion } = await read.snapshot(-1);
    expect((await read.snapshot(catalogueVersion)).catalogue).toBeNull();
    expect((await read.snapshot(catalogueVersion - 1)).catalogue).not.toBeNull();
  });

  test("is behind the registry by a poll at most", async ({ expect }) => {
    const { read } = fresh();
    const { catalogueVersion } = await read.snapshot(-1);
    await served("newer");
    expect((await read.snapshot(-1)).catalogueVersion).toBe(catalogueVersion);
    nowMs += CATALOGUE_POLL_MS + 1;
    // This reader starts the check, and does not wait for it.
    await read.snapshot(-1);
    await vi.waitFor(async () =>
      expect((await read.snapshot(-1)).catalogueVersion).toBeGreaterThan(catalogueVersion),
    );
  });

  test("that nobody asked for in a while waits for the registry's word", async ({ expect }) => {
    const { read } = fresh();
    const { catalogueVersion } = await read.snapshot(-1);
    await served("late");
    nowMs += 2 * CATALOGUE_POLL_MS + 1;
    expect((await read.snapshot(-1)).catalogueVersion).toBeGreaterThan(catalogueVersion);
  });

  test("forgets a pool that is deleted", async ({ expect }) => {
    await served("doomed");
    await beat("doomed", ["healthy"]);
    const { read } = fresh();
    expect(await wordOn(read, "doomed")).toBeDefined();
    made(await control().removePool(by(), "pool-doomed", null));
    nowMs += 2 * CATALOGUE_POLL_MS + 1;
    expect(await wordOn(read, "doomed")).toBeUndefined();
  });
});

describe("what pools say", () => {
  test("counts in the order of its epochs, however it arrives", async ({ expect }) => {
    await served("order");
    const { read } = fresh();
    await read.snapshot(-1);
    const { epoch } = (await wordOn(read, "order"))!;
    await read.publish(word("order", epoch + 5, 1));
    await read.publish(word("order", epoch + 7, 2));
    await read.publish(word("order", epoch + 6, 3));
    expect(await wordOn(read, "order")).toMatchObject({ epoch: epoch + 7, inUse: 2 });
    // The same epoch with a newer load: the later one counts.
    await read.publish(word("order", epoch + 7, 4));
    expect(await wordOn(read, "order")).toMatchObject({ epoch: epoch + 7, inUse: 4 });
  });

  test("goes on counting after the pool's object was lost", async ({ expect }) => {
    await served("reborn");
    await beat("reborn", ["healthy"]);
    const { at, read } = fresh();
    const before = (await wordOn(read, "reborn"))!;
    await evictDurableObject(env.REGION_POOL.getByName("pool-reborn/weur/model-reborn/0"));
    const after = await regionPool(env, "pool-reborn", "weur", "model-reborn").watch(at);
    expect(after.epoch).toBeGreaterThan(before.epoch);
    await read.publish(after);
    await read.publish(before);
    expect(await wordOn(read, "reborn")).toMatchObject({ epoch: after.epoch });
  });

  test("comes by itself while somebody reads", async ({ expect }) => {
    await served("spoken");
    await beat("spoken", ["healthy"]);
    const { read } = fresh();
    expect((await wordOn(read, "spoken"))!.replicas).toMatchObject([{ usable: true }]);
    nowMs += POOL_PUBLISH_MIN_GAP_MS;
    await beat("spoken", ["down"]);
    await vi.waitFor(async () =>
      expect((await wordOn(read, "spoken"))!.replicas).toMatchObject([{ usable: false }]),
    );
  });
});

describe("round trips", () => {
  test("that one reader measured are told to all, for pools that exist", async ({ expect }) => {
    await served("way");
    const { stub, read } = fresh();
    expect((await read.snapshot(-1)).rtts).toEqual([]);
    const way = { pool: "pool-way", excessMs: 12, samples: 3 };
    const told = await read.snapshot(-1, [way, { ...way, pool: "pool-unknown" }]);
    expect(told.rtts).toEqual([{ ...way, atMs: nowMs }]);
    expect((await read.snapshot(-1)).rtts).toEqual(told.rtts);
    // Memory only: distance serves until it is measured again.
    await evictDurableObject(stub);
    expect((await read.snapshot(-1)).rtts).toEqual([]);
  });

  test("to a pool that is deleted are forgotten", async ({ expect }) => {
    await served("lost");
    const { read } = fresh();
    await read.snapshot(-1, [{ pool: "pool-lost", excessMs: 1, samples: 1 }]);
    made(await control().removePool(by(), "pool-lost", null));
    nowMs += 2 * CATALOGUE_POLL_MS + 1;
    expect((await read.snapshot(-1)).rtts).toEqual([]);
  });
});

describe("with the registry out of reach", () => {
  const outOfReach = () =>
    vi.spyOn(Registry.prototype, "catalogue").mockRejectedValue(new Error("out of reach"));

  test("the last catalogue serves on, also after the directory lost its memory", async ({ expect }) => {
    await served("kept");
    const { at, read, stub } = fresh();
    const known = await read.snapshot(-1);
    outOfReach();
    nowMs += 10 * CATALOGUE_POLL_MS;
    expect((await read.snapshot(-1)).catalogue).toEqual(known.catalogue);
    await evictDurableObject(stub);
    expect((await read.snapshot(-1)).catalogue).toEqual(known.catalogue);
    await abortAllDurableObjects();
    expect((await directory(env, at).snapshot(-1)).catalogue).toEqual(known.catalogue);
  });

  test("a directory that never had one says so, instead of showing an empty one", async ({ expect }) => {
    const { read } = fresh();
    const down = outOfReach();
    const told = await read.snapshot(-1).then(() => "a snapshot", String);
    expect(told).toContain("no catalogue yet");
    down.mockRestore();
    expect((await read.snapshot(-1)).catalogue).not.toBeNull();
  });
});

test("a pool of several cells is heard of whole, and shrinks again", async ({ expect }) => {
  // All locations have been taken by other tests: an hour later this one knows nothing of what they did.
  nowMs += 3_600_000;
  const read = directory(env, "enam");
  await served("cells");
  const heard = (cell: number, cells: number, replicas: readonly string[]) =>
    regionPool(env, "pool-cells", "weur", "model-cells", cell).heartbeat({
      ...{ gate: "g", sequence: 1, draining: false, tallies: [], cells },
      config: { catalogueVersion: 1, concurrencyPerReplica: 4, tokensPerSecond: null },
      replicas: replicas.map((id) => ({
        ...{ id, models: ["model-cells"], state: "healthy", inFlight: 0, running: 0, waiting: 0 },
        ...{ kvCacheUsage: 0, gpuMemoryUsage: null, bootId: "1" },
      })),
    });
  const known = async () => {
    const { pools } = await read.snapshot(-1);
    return pools
      .filter(({ pool }) => pool === "pool-cells")
      .map(({ cell, replicas }) => [cell, replicas.length]);
  };
  await heard(0, 2, ["a"]);
  await heard(1, 2, ["b", "c"]);
  await known();
  await vi.waitFor(async () =>
    expect(await known()).toEqual([
      [0, 1],
      [1, 2],
    ]),
  );
  const merged = pooledCells((await read.snapshot(-1)).pools.filter(({ pool }) => pool === "pool-cells"));
  expect(merged.map(({ capacity, cells }) => [capacity, cells])).toEqual([[12, 2]]);
  await heard(0, 1, ["a", "b", "c"]);
  await read.publish(await regionPool(env, "pool-cells", "weur", "model-cells").state());
  expect(await known()).toEqual([[0, 3]]);
});
