import { describe, expect, it } from "vitest";
import type { Model, Pool } from "../../../src/catalogue.ts";
import type { PoolState } from "../../../src/routing/messages.ts";
import { rank } from "../../../src/routing/rank.ts";

const MODEL: Model = { id: "m", kind: "generate", version: 1, createdAtMs: 0 };
const PARIS = { latitude: 48.9, longitude: 2.4 };

function pool(id: string, latitude: number, longitude: number, more: Partial<Pool> = {}): Pool {
  return {
    id,
    region: id,
    position: { latitude, longitude },
    hint: "enam",
    gates: ["http://gate"],
    models: [{ model: "m", concurrencyPerReplica: 4 }],
    drained: false,
    secretVersion: 1,
    version: 1,
    createdAtMs: 0,
    ...more,
  };
}

function state(id: string, inUse: number, more: Partial<PoolState> = {}): PoolState {
  const view = {
    state: "healthy",
    breaker: "closed",
    permits: 0,
    running: 0,
    waiting: 0,
    kvCacheUsage: 0,
  } as const;
  const replicas = [{ id: `${id}-0`, usable: true, gpuMemoryUsage: null, ...view }];
  return {
    pool: id,
    model: "m",
    epoch: 1,
    atMs: 0,
    replicas,
    capacity: 4,
    inUse,
    waiting: 0,
    colo: null,
    ...more,
  };
}

const US = pool("us-east", 39, -77.5);
const EU = pool("eu-west", 53.3, -6.3);
const AP = pool("ap-southeast", 1.35, 103.8);

function names(asked: Partial<Parameters<typeof rank>[0]>): string[] {
  const ranked = rank({
    model: MODEL,
    pools: [US, EU, AP],
    states: [],
    client: PARIS,
    regions: null,
    ...asked,
  });
  return ranked.map(({ pool: { id }, excluded }) => (excluded ? `${id}:${excluded}` : id));
}

describe("rank", () => {
  it("puts the nearest region first", () => {
    expect(names({})).toEqual(["eu-west", "us-east", "ap-southeast"]);
    expect(names({ client: { latitude: 3, longitude: 101 } })[0]).toBe("ap-southeast");
  });

  it("prefers a farther region when the wait in the near one is longer than the way", () => {
    expect(names({ states: [state("eu-west", 4, { waiting: 3 }), state("us-east", 0)] })[0]).toBe("us-east");
  });

  it("shares near-equal pools out by headroom", () => {
    const twin = pool("eu-west-b", 53.4, -6.3);
    const states = [state("eu-west", 3), state("eu-west-b", 1)];
    expect(names({ pools: [EU, twin], states })).toEqual(["eu-west-b", "eu-west"]);
  });

  it("says why a pool may not take the request", () => {
    const drained = pool("us-east", 39, -77.5, { drained: true });
    const dead = state("eu-west", 0, { replicas: [] });
    expect(names({ pools: [drained, EU, AP], states: [dead], regions: ["us-east", "eu-west"] })).toEqual([
      "eu-west:no_replica",
      "us-east:drained",
      "ap-southeast:residency",
    ]);
  });

  it("leaves out pools that do not serve the model", () => {
    const other = pool("us-east", 39, -77.5, { models: [{ model: "other", concurrencyPerReplica: 1 }] });
    expect(names({ pools: [other, EU] })).toEqual(["eu-west"]);
  });
});
