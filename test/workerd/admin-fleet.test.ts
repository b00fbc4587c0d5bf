import { env as bindings } from "cloudflare:workers";
import { describe, test, vi } from "vitest";
import { type Model, type Pool, signingVersion } from "../../src/catalogue.ts";
import type { ReplicaReport } from "../../src/contract/report.ts";
import { RegionPool } from "../../src/durable/region-pool.ts";
import { regionPool } from "../../src/durable/stub.ts";
import type { Env } from "../../src/env.ts";
import type { Heartbeat, PoolState } from "../../src/routing/messages.ts";
import { secretsOf } from "../../src/secrets.ts";
import { ask, ifMatch } from "./admin-client.ts";

const env = bindings as unknown as Env;

interface Page<T> {
  readonly data: readonly T[];
  readonly nextCursor: string | null;
}
type PoolWithSecret = Pool & { readonly gateSecret: string };
type LivePool = Pool & { readonly live: { model: string; state: PoolState | null }[] };

function poolBody(id: string, ...models: string[]) {
  return {
    id,
    region: "fra",
    position: { latitude: 50.1, longitude: 8.7 },
    hint: "weur",
    gates: ["https://gate-1.example.net", "https://gate-2.example.net"],
    models: models.map((model) => ({ model })),
  };
}

async function newModel(id: string): Promise<Model> {
  const answer = await ask<Model>("POST", "/models", { body: { id } });
  if (answer.status !== 201) throw new Error(answer.text);
  return answer.json;
}

async function newPool(id: string, ...models: string[]): Promise<PoolWithSecret> {
  const answer = await ask<PoolWithSecret>("POST", "/pools", { body: poolBody(id, ...models) });
  if (answer.status !== 201) throw new Error(answer.text);
  return answer.json;
}

/** A replica with one request running, as a gate reports it. */
function heartbeat(model: string): Heartbeat {
  const replica: ReplicaReport = {
    id: "r1",
    models: [model],
    state: "healthy",
    inFlight: 1,
    running: 1,
    waiting: 0,
    kvCacheUsage: 0.25,
    gpuMemoryUsage: null,
    bootId: "b1",
  };
  return {
    gate: "gate-1",
    sequence: 1,
    draining: false,
    config: { catalogueVersion: 1, concurrencyPerReplica: 4, tokensPerSecond: null },
    replicas: [replica],
    tallies: [],
  };
}

describe("models", () => {
  test("create, read, change, delete; a slash in the id is written %2F", async ({ expect }) => {
    const body = { id: "meta/llama-3:8b", contextTokens: 8_192, servedName: "llama" };
    const created = await ask<Model>("POST", "/models", { body });
    expect([created.status, created.json.kind]).toEqual([201, "generate"]);
    const path = `/models/${encodeURIComponent(body.id)}`;
    const read = await ask<Model>("GET", path);
    expect(read.json).toEqual(created.json);
    expect(read.headers.get("etag")).toBe(`"${read.json.version}"`);
    const list = await ask<Page<Model>>("GET", "/models");
    expect(list.json.data).toContainEqual(read.json);

    expect((await ask("PATCH", path, { body: { kind: "embed" } })).status).toBe(428);
    const changed = await ask<Model>("PATCH", path, {
      body: { servedName: null, kind: "embed" },
      headers: ifMatch(read.json.version),
    });
    expect(changed.json).toMatchObject({ kind: "embed", contextTokens: 8_192 });
    expect(changed.json.servedName).toBeUndefined();
    const stale = await ask("PATCH", path, { body: { kind: "embed" }, headers: ifMatch(read.json.version) });
    expect(stale.status).toBe(412);
    expect((await ask("POST", "/models", { body })).status).toBe(409);
    expect((await ask("DELETE", path)).status).toBe(204);
    expect((await ask("GET", path)).status).toBe(404);
  });

  test("a model that a pool serves stays", async ({ expect }) => {
    await newModel("served");
    await newPool("serving", "served");
    const refused = await ask("DELETE", "/models/served");
    expect([refused.status, refused.json.error.code]).toEqual([409, "conflict"]);
    expect(refused.json.error.message).toContain("'serving'");
    await ask("DELETE", "/pools/serving");
    expect((await ask("DELETE", "/models/served")).status).toBe(204);
  });
});

describe("pools", () => {
  test("create, read, change, delete", async ({ expect }) => {
    await newModel("m1");
    await newModel("m2");
    const { gateSecret, ...pool } = await newPool("fra-1", "m1");
    expect(pool).toMatchObject({ models: [{ model: "m1", concurrencyPerReplica: 10 }], drained: false });
    const drained = await ask<Pool>("PATCH", "/pools/fra-1", {
      body: { drained: true, tokensPerSecond: 100 },
      headers: ifMatch(pool.version),
    });
    expect(drained.json).toMatchObject({ drained: true, tokensPerSecond: 100, gates: pool.gates });
    expect(drained.text).not.toContain("gateSecret");
    const renamed = await ask<Pool>("PATCH", "/pools/fra-1", {
      body: { models: [{ model: "m2" }], tokensPerSecond: null },
      headers: ifMatch(drained.json.version),
    });
    // A change that does not mention it must not put a drained pool back to work.
    expect(renamed.json).toMatchObject({ drained: true, models: [{ model: "m2" }] });
    expect(renamed.json.tokensPerSecond).toBeUndefined();
    expect((await ask("POST", "/pools", { body: poolBody("fra-1", "m1") })).status).toBe(409);
    expect((await ask("DELETE", "/pools/fra-1", { headers: ifMatch(pool.version) })).status).toBe(412);
    expect((await ask("DELETE", "/pools/fra-1")).status).toBe(204);
    expect((await ask("GET", "/pools/fra-1")).status).toBe(404);
  });

  test("what makes no sense is refused by name", async ({ expect }) => {
    await newModel("known");
    const pool = await newPool("sound", "known");
    const good = poolBody("odd", "known");
    const cases: [object, string][] = [
      [{ ...good, models: [{ model: "known" }, { model: "unknown" }] }, "models.1.model"],
      [{ ...good, models: [{ model: "known" }, { model: "known" }] }, "models"],
      [{ ...good, models: [] }, "models"],
      [{ ...good, gates: ["https://a.example/path"] }, "gates.0"],
      [{ ...good, gates: ["https://user@a.example"] }, "gates.0"],
      [{ ...good, gates: [good.gates[0], good.gates[0]] }, "gates"],
      [{ ...good, position: { latitude: 91, longitude: 0 } }, "position.latitude"],
      [{ ...good, hint: "mars" }, "hint"],
    ];
    for (const [body, param] of cases) {
      const answer = await ask("POST", "/pools", { body });
      expect([answer.status, answer.json.error.param]).toEqual([400, param]);
    }
    const headers = ifMatch(pool.version);
    const patch = await ask("PATCH", "/pools/sound", { body: { models: [{ model: "unknown" }] }, headers });
    expect([patch.status, patch.json.error.param]).toEqual([400, "models.0.model"]);
  });

  test("the gates' secret is shown once; a rotation leaves time to hand out the next", async ({ expect }) => {
    await newModel("secret-model");
    const pool = await newPool("secretive", "secret-model");
    const { poolSecret } = await secretsOf(env);
    const first = pool.secretVersion;
    expect(pool.gateSecret).toBe(await poolSecret("secretive", first));
    expect(signingVersion(pool)).toBe(first);

    const rotated = await ask<PoolWithSecret>("POST", "/pools/secretive/rotate-secret");
    expect([rotated.status, rotated.json.secretVersion]).toEqual([200, first + 1]);
    expect(rotated.json.gateSecret).toBe(await poolSecret("secretive", first + 1));
    // Gates that have not heard of the new secret must still understand their orders.
    expect(signingVersion(rotated.json)).toBe(first);
    expect((await ask("POST", "/pools/secretive/rotate-secret")).status).toBe(409);

    for (let times = 0; times < 2; times++) {
      const ended = await ask<Pool>("POST", "/pools/secretive/end-rotation");
      expect([ended.status, signingVersion(ended.json)]).toEqual([200, first + 1]);
      expect(ended.text).not.toContain("gateSecret");
    }
    for (const action of ["rotate-secret", "end-rotation"]) {
      expect((await ask("POST", `/pools/nothing/${action}`)).status).toBe(404);
    }
    for (const path of ["/pools", "/pools/secretive", "/audit"]) {
      const { text } = await ask("GET", path);
      expect(text).not.toContain("gateSecret");
      expect(text).not.toContain(pool.gateSecret);
      expect(text).not.toContain(rotated.json.gateSecret);
    }
  });

  test("a pool is shown with its replicas as they are now, and so are breakers", async ({ expect }) => {
    await newModel("lively");
    await newModel("asleep");
    await newPool("live-1", "lively", "asleep");
    await regionPool(env, "live-1", "weur", "lively").heartbeat(heartbeat("lively"));
    const read = await ask<LivePool>("GET", "/pools/live-1");
    expect(read.json.live).toMatchObject([
      { model: "lively", state: { replicas: [{ id: "r1", usable: true, breaker: "closed" }] } },
      { model: "asleep", state: { replicas: [] } },
    ]);
    const breakers = await ask<Page<{ pool: string }>>("GET", "/breakers?limit=20");
    const quiet = { state: "closed", share: 1, overrides: [], transitions: [] };
    expect(breakers.json.data.filter(({ pool }) => pool === "live-1")).toEqual([
      {
        ...quiet,
        pool: "live-1",
        model: "lively",
        replicas: [{ id: "r1", breaker: "closed", usable: true }],
      },
      { ...quiet, pool: "live-1", model: "asleep", replicas: [] },
    ]);

    vi.spyOn(RegionPool.prototype, "state").mockImplementation(() => {
      throw new Error("out of reach");
    });
    const unreached = await ask<LivePool>("GET", "/pools/live-1");
    vi.restoreAllMocks();
    expect(unreached.status).toBe(200);
    expect(unreached.json.live.map(({ state }) => state)).toEqual([null, null]);
  });
});
