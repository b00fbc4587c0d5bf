import { env as bindings } from "cloudflare:workers";
import { beforeAll, describe, test } from "vitest";
import type { LocationHint } from "../../src/catalogue.ts";
import { directory, regionPool } from "../../src/durable/stub.ts";
import type { Env } from "../../src/env.ts";
import { ask } from "./admin-client.ts";

const env = bindings as unknown as Env;

interface Explained {
  readonly client: { latitude: number; longitude: number; source: string };
  readonly promptTokens: number;
  readonly band: string;
  readonly candidates: readonly {
    readonly pool: string;
    readonly excluded: string | null;
    readonly share: number;
    readonly distanceKm: number;
    readonly rttMs: number;
    readonly rtt: { expectedMs: number; measuredMs: number | null; samples: number; usedMs: number };
    readonly waitMs: number;
    readonly prefillMs: number;
    readonly predictedMs: number;
    readonly headroom: number | null;
    readonly stateAgeMs: number | null;
  }[];
}

const POOLS: readonly (readonly [id: string, hint: LocationHint, latitude: number, longitude: number])[] = [
  ["equator-0", "weur", 0, 0],
  ["equator-9", "weur", 0, 9],
  ["equator-90", "apac", 0, 90],
];

async function explained(query: string): Promise<Explained> {
  const { status, json, text } = await ask<Explained>("GET", `/explain?model=geo&${query}`);
  if (status !== 200) throw new Error(text);
  return json;
}

beforeAll(async () => {
  await ask("POST", "/models", { body: { id: "geo" } });
  for (const [id, hint, latitude, longitude] of POOLS) {
    const models = [{ model: "geo", concurrencyPerReplica: 10 }];
    const body = {
      id,
      region: id,
      hint,
      position: { latitude, longitude },
      gates: ["http://127.0.0.1:9"],
      models,
    };
    const { status, text } = await ask("POST", "/pools", { body });
    if (status !== 201) throw new Error(text);
    await regionPool(env, id, hint, "geo").heartbeat({
      ...{ gate: "g", sequence: 1, draining: false, tallies: [] },
      config: { catalogueVersion: 1, concurrencyPerReplica: 10, tokensPerSecond: null },
      replicas: [
        {
          ...{ id: `${id}-0`, models: ["geo"], state: "healthy", inFlight: 0, running: 0, waiting: 0 },
          ...{ kvCacheUsage: 0, gpuMemoryUsage: null, bootId: "1" },
        },
      ],
    });
  }
  await ask("POST", "/tenants", { body: { id: "resident", name: "R", regions: ["equator-90"] } });
});

describe("explain", () => {
  test("gives the numbers that a request from there is ranked by", async ({ expect }) => {
    const { client, candidates } = await explained("location=AF/0/0&promptTokens=1000");
    expect(client).toEqual({ latitude: 0, longitude: 0, source: "coordinates" });
    // A degree of the equator is 111.195 km: 9 are 1,000.75 km and 4 + 15.01 ms; 90 are 10,007.5 km and 154.11 ms.
    expect(candidates.map(({ pool, distanceKm, rttMs }) => [pool, distanceKm, rttMs])).toEqual([
      ["equator-0", 0, 4],
      ["equator-9", 1_001, 19],
      ["equator-90", 10_008, 154],
    ]);
    // Prefill of 1,000 tokens as pools assume it, 50 + 0.1 ms each: 154 and 169.01, reach 30.8, nearness 1 and 0.5127.
    expect(candidates[0]).toMatchObject({
      ...{ excluded: null, headroom: 1, waitMs: 0, prefillMs: 150, predictedMs: 154 },
      rtt: { expectedMs: 4, measuredMs: null, samples: 0, usedMs: 4 },
    });
    expect(candidates.map(({ share }) => share)).toEqual([0.6611, 0.3389, 0]);
    expect(candidates.every(({ stateAgeMs }) => stateAgeMs !== null)).toBe(true);
  });

  test("shows residency and drained regions, and why they are out", async ({ expect }) => {
    const { candidates } = await explained("location=AF/0/0&tenant=resident");
    expect(candidates.map(({ pool, excluded, share }) => [pool, excluded, share])).toEqual([
      ["equator-90", null, 1],
      ["equator-0", "residency", 0],
      ["equator-9", "residency", 0],
    ]);
  });

  test("says what the position was taken from", async ({ expect }) => {
    const source = async (query: string) => {
      const { client } = await explained(query);
      return [client.source, client.latitude];
    };
    expect(await source("country=JP&continent=EU&colo=GRU")).toEqual(["country", 35.7]);
    expect(await source("country=T1&continent=EU&colo=GRU")).toEqual(["continent", 50]);
    expect(await source("colo=GRU")).toEqual(["colo", -23.4]);
    expect(await source("colo=nowhere")).toEqual(["default", 39]);
  });

  test("shows what the location measured", async ({ expect }) => {
    // Oceania's directory, which no test has read yet: its first snapshot has it. 8 samples weigh as the distance.
    await directory(env, "oc").snapshot(-1, [{ pool: "equator-9", excessMs: 40, samples: 8 }]);
    const { candidates } = await explained("location=OC/-33.8/151.2");
    const { expectedMs, measuredMs, samples, usedMs } = candidates.find(
      ({ pool }) => pool === "equator-9",
    )!.rtt;
    expect(measuredMs).toBeCloseTo(expectedMs + 40, 1);
    expect(samples).toBeCloseTo(8, 0);
    expect(usedMs).toBeCloseTo(expectedMs + 20, 0);
  });

  test("refuses what it does not know", async ({ expect }) => {
    for (const query of ["band=urgent", "promptTokens=-1", "promptTokens=x", "latitude=1", "location=x"]) {
      const { status } = await ask("GET", `/explain?model=geo&${query}`);
      expect([query, status]).toEqual([query, 400]);
    }
  });
});
