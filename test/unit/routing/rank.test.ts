import { describe, expect, it } from "vitest";
import { STATE_TRUSTED_MS, STATE_UNKNOWN_MS, UNHEARD_WAIT_MS, WAIT_MAX_MS } from "../../../src/bounds.ts";
import { type Candidate, mayAsk, type RankAsk } from "../../../src/routing/rank.ts";
import { NOW_MS, pool, poolAt, ranked, state } from "./pools.ts";

const US = pool("us-east", 39, -77.5);
const EU = pool("eu-west", 53.3, -6.3);
const AP = pool("ap-southeast", 1.35, 103.8);

function names(asked: Partial<RankAsk>): string[] {
  return ranked({ pools: [US, EU, AP], ...asked }).map(({ pool: { id }, excluded }) =>
    excluded ? `${id}:${excluded}` : id,
  );
}

function sharesOf(candidates: readonly Candidate[]): Record<string, number> {
  return Object.fromEntries(candidates.map(({ pool: { id }, share }) => [id, Number(share.toFixed(4))]));
}

describe("the order", () => {
  it("puts the nearest region first", () => {
    expect(names({})).toEqual(["eu-west", "us-east", "ap-southeast"]);
    expect(names({ client: { latitude: 3, longitude: 101 } })[0]).toBe("ap-southeast");
  });

  it("prefers a farther region when the wait in the near one is longer than the way", () => {
    expect(names({ states: [state("eu-west", 4, { waiting: 3 }), state("us-east", 0)] })[0]).toBe("us-east");
  });

  it("puts a pool that was never heard of after those with room, and before those with a queue", () => {
    const states = [state("ap-southeast", 0), state("us-east", 4, { waiting: 3 })];
    expect(names({ states })).toEqual(["ap-southeast", "eu-west", "us-east"]);
  });

  it("leaves out pools that do not serve the model", () => {
    const other = pool("us-east", 39, -77.5, { models: [{ model: "other", concurrencyPerReplica: 1 }] });
    expect(names({ pools: [other, EU] })).toEqual(["eu-west"]);
  });
});

describe("the predicted time", () => {
  const of = (asked: Partial<RankAsk>, id = "a") =>
    ranked({ pools: [poolAt("a", 30)], ...asked }).find(({ pool }) => pool.id === id)!;

  it("is round trip, wait of the request's band, and prefill of its prompt", () => {
    const told = state("a", 2, {
      waitMs: { interactive: 5, default: 50, batch: 500 },
      firstTokenMs: { baseMs: 20, msPerToken: 0.25 },
    });
    const { rtt, waitMs, prefillMs, predictedMs } = of({
      states: [told],
      promptTokens: 1_000,
      band: "batch",
    });
    expect(rtt.usedMs).toBeCloseTo(30, 6);
    expect([waitMs, prefillMs]).toEqual([500, 270]);
    expect(predictedMs).toBeCloseTo(800, 6);
    expect(of({ states: [told], band: "interactive" }).waitMs).toBe(5);
  });

  it("takes the wait from the queue where the pool tells none", () => {
    // (3 waiting + 1) · 10,000 ms ÷ 4 permits.
    expect(of({ states: [state("a", 4, { waiting: 3 })] }).waitMs).toBe(10_000);
    expect(of({ states: [state("a", 3)] }).waitMs).toBe(0);
  });

  it("goes by measured round trips as far as they are believed", () => {
    const rtts = new Map([["a", { pool: "a", excessMs: 40, samples: 8, atMs: NOW_MS }]]);
    expect(of({ rtts }).rtt).toMatchObject({ samples: 8 });
    expect(of({ rtts }).rtt.usedMs).toBeCloseTo(50, 6);
    const pools = [poolAt("a", 30), poolAt("b", 60)];
    const told = [state("a", 0), state("b", 0)];
    const far = new Map([["a", { pool: "a", excessMs: 90, samples: 64, atMs: NOW_MS }]]);
    expect(names({ pools, states: told })[0]).toBe("a");
    expect(names({ pools, states: told, rtts: far })[0]).toBe("b");
  });

  it("trusts a pool's word for a while, then ever less, down to that of one never heard of", () => {
    const aged = (ageMs: number) => of({ states: [state("a", 0, { atMs: NOW_MS - ageMs })] });
    const middleMs = (STATE_TRUSTED_MS + STATE_UNKNOWN_MS) / 2;
    expect(aged(STATE_TRUSTED_MS).waitMs).toBe(0);
    expect(aged(middleMs).waitMs).toBe(UNHEARD_WAIT_MS / 2);
    expect(aged(STATE_UNKNOWN_MS).waitMs).toBe(UNHEARD_WAIT_MS);
    expect(aged(10 * STATE_UNKNOWN_MS)).toMatchObject({ waitMs: UNHEARD_WAIT_MS, stateAgeMs: 300_000 });
    expect(of({})).toMatchObject({ waitMs: UNHEARD_WAIT_MS, stateAgeMs: null, headroom: null });
    // A clock ahead of ours is no reason to doubt.
    expect(aged(-5_000)).toMatchObject({ waitMs: 0, stateAgeMs: 0 });
  });

  it("takes a fresh refusal for what the pool says now", () => {
    const turned = new Map([["a", { untilMs: NOW_MS + 700 }]]);
    expect(of({ states: [state("a", 0)], turned }).waitMs).toBe(700);
    const pools = [poolAt("a", 30), poolAt("b", 120)];
    const states = [state("a", 0), state("b", 0)];
    expect(names({ pools, states })).toEqual(["a", "b"]);
    expect(names({ pools, states, turned })).toEqual(["b", "a"]);
  });

  it("stays a number when a pool says that nobody will ever be served", () => {
    const waitMs = { interactive: Infinity, default: Infinity, batch: Infinity };
    const candidates = ranked({ pools: [EU], states: [state("eu-west", 4, { waitMs })] });
    expect(candidates).toMatchObject([{ waitMs: WAIT_MAX_MS, share: 1 }]);
  });
});

describe("shares", () => {
  const near = (behindMs: number) => [poolAt("a", 30), poolAt("b", 30 + behindMs)];

  it("of equals go by permits: the free ones, and a fifth of those in use", () => {
    const states = [state("a", 1), state("b", 3)];
    // 3 + 0.2 against 1 + 0.6.
    expect(sharesOf(ranked({ pools: near(0), states }))).toEqual({ a: 0.6667, b: 0.3333 });
    const small = [state("a", 0, { capacity: 100 }), state("b", 0, { capacity: 25 })];
    expect(sharesOf(ranked({ pools: near(0), states: small }))).toEqual({ a: 0.8, b: 0.2 });
  });

  it("fall with the distance to the best: half the weight at 10 ms, none at 20", () => {
    const states = [state("a", 0), state("b", 0)];
    const b = (behindMs: number) => sharesOf(ranked({ pools: near(behindMs), states })).b;
    // Weight ½ against 1, then ¼ against 1.
    expect([b(0), b(10), b(15), b(20), b(200)]).toEqual([0.5, 0.3333, 0.2, 0, 0]);
  });

  it("reach as far as a tenth of a long time", () => {
    const firstTokenMs = { baseMs: 970, msPerToken: 0 };
    const states = [state("a", 0, { firstTokenMs }), state("b", 0, { firstTokenMs })];
    // Predicted 1,000 and 1,100 ms: reach 200 ms, nearness ½.
    expect(sharesOf(ranked({ pools: near(100), states }))).toEqual({ a: 0.6667, b: 0.3333 });
  });

  it("leave a full pool what ends soon, one that refused half a place, one never heard of one place", () => {
    const waitMs = { interactive: 0, default: 0, batch: 0 };
    const states = [state("a", 0), state("b", 9, { waitMs })];
    // 4 against 4 · 0.2.
    expect(sharesOf(ranked({ pools: near(0), states }))).toEqual({ a: 0.8333, b: 0.1667 });
    const turned = new Map([["b", { untilMs: NOW_MS }]]);
    expect(sharesOf(ranked({ pools: near(0), states, turned }))).toEqual({ a: 0.8889, b: 0.1111 });
    expect(sharesOf(ranked({ pools: near(0) }))).toEqual({ a: 0.5, b: 0.5 });
  });

  it("follow a breaker's ramp", () => {
    const states = [state("a", 0, { breaker: "half_open", breakerShare: 0.25 }), state("b", 0)];
    expect(sharesOf(ranked({ pools: near(0), states }))).toEqual({ a: 0.2, b: 0.8 });
  });
});

describe("exclusions", () => {
  it("say why a pool may not take the request, and come last", () => {
    const drained = pool("us-east", 39, -77.5, { drained: true });
    const dead = state("eu-west", 0, { replicas: [] });
    const asked = { pools: [drained, EU, AP], states: [dead], regions: ["us-east", "eu-west"] };
    expect(names(asked)).toEqual(["eu-west:no_replica", "us-east:drained", "ap-southeast:residency"]);
    expect(
      ranked(asked)
        .filter(mayAsk)
        .map(({ pool }) => pool.id),
    ).toEqual(["eu-west"]);
  });

  it("an open breaker keeps a pool out while another may serve", () => {
    const open = state("eu-west", 0, { breaker: "open" });
    expect(names({ states: [open] })).toEqual(["us-east", "ap-southeast", "eu-west:breaker_open"]);
    // A full one may serve too: it has a queue.
    const full = state("us-east", 4, { waiting: 9 });
    const candidates = ranked({ pools: [US, EU], states: [open, full] });
    expect(candidates.map(({ share }) => share)).toEqual([1, 0]);
    expect(candidates.filter(mayAsk).map(({ pool }) => pool.id)).toEqual(["us-east"]);
  });

  it("with nobody else left, open pools are the last resort, and drained or forbidden ones never", () => {
    const states = [state("eu-west", 0, { breaker: "open" }), state("us-east", 0, { replicas: [] })];
    const candidates = ranked({ pools: [US, EU, AP], states, regions: ["us-east", "eu-west"] });
    expect(candidates.map(({ pool, lastResort, share }) => [pool.id, lastResort, share])).toEqual([
      ["eu-west", true, 1],
      ["us-east", false, 0],
      ["ap-southeast", false, 0],
    ]);
    expect(candidates.filter(mayAsk).map(({ pool }) => pool.id)).toEqual(["eu-west", "us-east"]);
  });
});
