import { abortAllDurableObjects } from "cloudflare:test";
import { env as bindings } from "cloudflare:workers";
import { afterEach, beforeEach, describe, test, vi } from "vitest";
import type { ReplicaReport, Tally } from "../../src/contract/report.ts";
import { regionPool } from "../../src/durable/stub.ts";
import type { Env } from "../../src/env.ts";
import { ask } from "./admin-client.ts";

const env = bindings as unknown as Env;
const MODEL = "meta/llama-3:8b";
let nowMs = 0;
beforeEach(() => {
  nowMs = 1_800_000_000_000;
  vi.spyOn(Date, "now").mockImplementation(() => nowMs);
});
afterEach(() => {
  vi.restoreAllMocks();
});

interface Shown {
  readonly state: string;
  readonly replicas: readonly { id: string; breaker: string; usable: boolean }[];
  readonly overrides: readonly { replica: string | null; state: string; reason: string; by: string }[];
  readonly transitions: readonly { replica: string | null; from: string; to: string; cause: string }[];
}

const replica = (id: string): ReplicaReport => ({
  ...{ id, models: [MODEL], state: "healthy", inFlight: 0, running: 0, waiting: 0 },
  ...{ kvCacheUsage: 0, gpuMemoryUsage: null, bootId: "1" },
});
const CONFIG = { catalogueVersion: 1, concurrencyPerReplica: 4, tokensPerSecond: null };

/** A pool of two replicas that both say that they are healthy. */
async function newPool(id: string) {
  await ask("POST", "/models", { body: { id: MODEL } });
  const place = { region: "fra", position: { latitude: 50, longitude: 8 }, hint: "weur" };
  const made = await ask("POST", "/pools", {
    body: { id, ...place, gates: ["https://gate.example.net"], models: [{ model: MODEL }] },
  });
  if (made.status !== 201) throw new Error(made.text);
  const reach = () => regionPool(env, id, "weur", MODEL);
  let sequence = 0;
  const beat = (tallies: Partial<Tally>[] = []) =>
    reach().heartbeat({
      ...{ gate: "g", sequence: ++sequence, draining: false, config: CONFIG },
      replicas: [replica("r0"), replica("r1")],
      tallies: tallies.map((one) => ({
        ...{ replica: "r0", model: MODEL, ok: 0, failed: 0, slow: 0, overloaded: 0, tokens: 0 },
        ...one,
      })),
    });
  await beat();
  const path = `/breakers/${id}/${encodeURIComponent(MODEL)}`;
  const force = (body: object) => ask<Shown>("POST", path, { body });
  const shown = async () => {
    const page = await ask<{ data: readonly (Shown & { pool: string })[] }>("GET", "/breakers?limit=20");
    const found = page.json.data.find(({ pool }) => pool === id);
    if (!found) throw new Error(page.text);
    return found;
  };
  return { reach, beat, force, shown, path };
}

async function crash(): Promise<void> {
  await abortAllDurableObjects();
}

describe("a replica whose health check is fine", () => {
  test("is ejected when it fails its requests, and the other is not", async ({ expect }) => {
    const { beat, shown, reach } = await newPool("fails");
    await beat([{ ok: 4, failed: 0, replica: "r1" }, { failed: 5 }]);
    expect(await shown()).toMatchObject({
      state: "closed",
      replicas: [
        { id: "r0", breaker: "open", usable: false },
        { id: "r1", breaker: "closed", usable: true },
      ],
      transitions: [{ replica: "r0", from: "closed", to: "open", cause: "failures_in_a_row" }],
    });
    // Two prompts that say nothing of their size are as many as are sent ahead.
    for (const id of ["1", "2"]) {
      const { answer } = await reach().acquire({ id, config: CONFIG, exclude: [], waitMs: 0 });
      expect(answer).toMatchObject({ kind: "granted", replica: "r1" });
    }
  });

  test("is ejected when it holds all it has and answers nothing", async ({ expect }) => {
    const { beat, shown } = await newPool("hangs");
    // No request has ended: gates count them as slow at their age.
    await beat([{ slow: 3 }]);
    nowMs += 1_000;
    await beat([{ slow: 2 }]);
    expect(await shown()).toMatchObject({
      replicas: [{ breaker: "open" }, { breaker: "closed" }],
      transitions: [{ replica: "r0", cause: "slow" }],
    });
  });
});

describe("a breaker's state outlives its object", () => {
  test("open stays open, for as long as it was to be", async ({ expect }) => {
    const { beat, shown } = await newPool("crashes");
    await beat([{ failed: 5 }]);
    await crash();
    await beat();
    expect(await shown()).toMatchObject({
      replicas: [{ breaker: "open" }, { breaker: "closed" }],
      transitions: [{ replica: "r0", to: "open" }],
    });
    nowMs += 5_000;
    await beat();
    expect(await shown()).toMatchObject({ replicas: [{ breaker: "half_open" }, { breaker: "closed" }] });
  });

  test("and so does what an operator holds, until it expires", async ({ expect }) => {
    const { beat, force, shown } = await newPool("held");
    const open = await force({ replica: "r0", state: "open", reason: "new driver", expiresInMs: 60_000 });
    expect(open.status).toBe(200);
    expect(open.json.overrides).toMatchObject([{ replica: "r0", state: "open", reason: "new driver" }]);
    await force({ replica: "r1", state: "closed", reason: "the last one" });
    await crash();
    await beat([{ replica: "r1", failed: 50 }]);
    expect(await shown()).toMatchObject({
      replicas: [{ breaker: "open" }, { breaker: "closed" }],
      overrides: [{ replica: "r0" }, { replica: "r1", state: "closed", expiresAtMs: null }],
    });
    nowMs += 60_000;
    await beat();
    expect(await shown()).toMatchObject({
      replicas: [{ breaker: "half_open" }, { breaker: "closed" }],
      overrides: [{ replica: "r1" }],
    });
    await force({ replica: "r1", state: "automatic", reason: "it can go" });
    await beat([{ replica: "r1", failed: 5 }]);
    expect(await shown()).toMatchObject({ replicas: [{}, { breaker: "open" }], overrides: [] });
  });
});

describe("what an operator orders", () => {
  test("of a whole pool, with a slash in its model's name, is shown and audited", async ({ expect }) => {
    const { force, reach, path } = await newPool("whole");
    const answer = await force({ state: "open", reason: "maintenance" });
    expect(answer.json).toMatchObject({
      ...{ pool: "whole", model: MODEL, state: "open" },
      overrides: [{ replica: null, state: "open", reason: "maintenance", expiresAtMs: null }],
      transitions: [{ replica: null, from: "closed", to: "open", cause: "operator" }],
    });
    expect(await reach().state()).toMatchObject({ breaker: "open", breakerShare: 0 });
    const { json } = await ask<{ data: readonly object[] }>("GET", "/audit?limit=1");
    expect(json.data[0]).toMatchObject({
      ...{ action: "breaker.override", target: `breakers/whole/${MODEL}`, before: null },
      after: { replica: null, state: "open", reason: "maintenance", expiresAtMs: null },
    });
    // Unencoded, the slash makes it another path.
    const raw = await ask("POST", path.replace("%2F", "/"), { body: { state: "open", reason: "x" } });
    expect(raw.status).toBe(404);
  });

  test("is refused without an admin key, and nothing is done", async ({ expect }) => {
    const { path, shown } = await newPool("denied");
    const body = { state: "open", reason: "let me" };
    for (const key of [null, "not-an-admin-key"]) {
      expect((await ask("POST", path, { body, key })).status).toBe(401);
    }
    expect(await shown()).toMatchObject({ state: "closed", overrides: [], transitions: [] });
  });

  test.for([
    [{ state: "ajar", reason: "x" }, 400],
    [{ state: "open" }, 400],
    [{ state: "open", reason: "" }, 400],
    [{ state: "open", reason: "x", expiresInMs: 5 }, 400],
    [{ state: "automatic", reason: "x", expiresInMs: 5_000 }, 400],
    [{ state: "open", reason: "x", force: true }, 400],
    [{ state: "open", reason: "x", replica: "nobody" }, 404],
  ] as const)("is refused when it makes no sense: %j", async ([body, status], { expect }) => {
    const { force, shown } = await newPool(`odd-${crypto.randomUUID().slice(0, 8)}`);
    expect((await force(body)).status).toBe(status);
    expect(await shown()).toMatchObject({ overrides: [] });
  });

  test("needs a pool that serves the model", async ({ expect }) => {
    const { path } = await newPool("serves");
    const body = { state: "open", reason: "x" };
    expect((await ask("POST", path.replace("serves", "nowhere"), { body })).status).toBe(404);
    expect((await ask("POST", "/breakers/serves/other", { body })).status).toBe(404);
  });
});
