import { runDurableObjectAlarm } from "cloudflare:test";
import { afterEach, beforeAll, beforeEach, describe, expect, test, vi } from "vitest";
import { randomFrom } from "../../sim/world/random.ts";
import { LEASE_TTL_MS, SHARDS_MAX } from "../../src/bounds.ts";
import { type BudgetPlace, type Limits, shardAt } from "../../src/catalogue.ts";
import type { BudgetReport } from "../../src/limits/messages.ts";
import { tenantRecord } from "../support/tenant.ts";
import { isolate, type Reserve, request, said, tenant } from "./isolate-rig.ts";

/**
 * A hot tenant, from its isolates to its shards: real objects, the relay's own code with a memory of its own per isolate,
 * a clock that the test moves. Objects are taken to do a hundredth of what they were measured to do, so that few requests
 * are too many for one, and blocks are earned by as much less.
 */
// vitest calls this when it mocks a module, and the runtime lacks it.
await vi.hoisted(async () => {
  const { AsyncLocalStorage } = await import("node:async_hooks");
  AsyncLocalStorage.prototype.disable = () => undefined;
});
vi.mock("../../src/limits/bounds.ts", async (original) => {
  const bounds = await original<typeof import("../../src/limits/bounds.ts")>();
  return {
    ...bounds,
    OBJECT_ASKED_PER_SECOND: bounds.OBJECT_ASKED_PER_SECOND / 100,
    OBJECT_DRAWN_PER_SECOND: bounds.OBJECT_DRAWN_PER_SECOND / 100,
    BLOCK_EARNING_PER_SECOND: bounds.BLOCK_EARNING_PER_SECOND / 5,
    BLOCK_LEAST_REQUESTS: bounds.BLOCK_LEAST_REQUESTS / 4,
  };
});

const PLACES = Array.from({ length: SHARDS_MAX }, (_, shard) => shardAt("enam", shard));
const STEP_MS = 250;
const PROMPT_TOKENS = 10;
const OUTPUT_TOKENS = 50;
/** Requests a second of each isolate: more than one object does in all. */
const RATES = [12, 12, 8, 8, 4, 2.4];

let nowMs = 1_800_000_000_000;
const isolates: Reserve[] = [];
// Before any object is there: each new relay makes the runtime start its objects anew.
beforeAll(async () => {
  while (isolates.length < RATES.length) isolates.push(await isolate());
});
beforeEach(() => {
  const random = randomFrom(1);
  vi.spyOn(Math, "random").mockImplementation(() => random.int(0, 2 ** 30 - 1) / 2 ** 30);
  // What isolates remember of the test before is over.
  nowMs += 3_600_000;
  vi.spyOn(Date, "now").mockImplementation(() => nowMs);
});
afterEach(() => {
  vi.restoreAllMocks();
});

interface Running {
  readonly at: BudgetPlace;
  readonly endsMs: number;
  readonly report: BudgetReport;
}

/** What happened in one step. */
interface Step {
  readonly atMs: number;
  admitted: number;
  usedTokens: number;
  running: number;
  readonly byPlace: Map<string, number>;
}

class Traffic {
  readonly steps: Step[] = [];
  readonly later: Promise<unknown>[] = [];
  readonly refusals = new Map<string, number>();
  requests = 0;
  running: Running[] = [];
  readonly #tenant: Awaited<ReturnType<typeof tenant>>;
  readonly #lifeMs: number;

  constructor(of: Awaited<ReturnType<typeof tenant>>, lifeMs: number) {
    this.#tenant = of;
    this.#lifeMs = lifeMs;
  }

  /** Each isolate makes its requests of so many seconds, `part` of its rate; gates report as requests end. */
  async pass(seconds: number, part = 1): Promise<void> {
    for (let ms = 0; ms < seconds * 1_000; ms += STEP_MS) {
      nowMs += STEP_MS;
      const step: Step = { atMs: nowMs, admitted: 0, usedTokens: 0, running: 0, byPlace: new Map() };
      await this.#end(step);
      await Promise.all(RATES.map((rate, index) => this.#ask(index, rate * part, step)));
      step.running = this.running.length;
      this.steps.push(step);
      if (this.steps.length % 8 === 0) await this.alarms();
    }
  }

  /** As the platform rings them; what is due now. */
  async alarms(): Promise<void> {
    await Promise.all(PLACES.slice(1).map((at) => runDurableObjectAlarm(this.#tenant.stub(at))));
  }

  async #ask(index: number, rate: number, step: Step): Promise<void> {
    const due = (ms: number) => Math.floor((rate * ms) / 1_000 + index / RATES.length);
    const count = due(nowMs % 1_000_000) - due((nowMs % 1_000_000) - STEP_MS);
    await Promise.all(Array.from({ length: count }, () => this.#one(isolates[index]!, step)));
  }

  async #one(by: Reserve, step: Step): Promise<void> {
    try {
      const made = await request(by, this.#tenant.ref, undefined, (work) => {
        this.later.push(work);
      });
      const { address, block } = made.reserved;
      const report = { ...said(made.id, OUTPUT_TOKENS), ...(block === null ? {} : { block }) };
      this.running.push({ at: address.at, endsMs: nowMs + this.#lifeMs, report });
      this.requests += 1;
      step.admitted += 1;
      step.byPlace.set(address.at, (step.byPlace.get(address.at) ?? 0) + 1);
    } catch (error) {
      const { failure } = error as { failure?: { tag: string } };
      if (failure === undefined) throw error;
      this.refusals.set(failure.tag, (this.refusals.get(failure.tag) ?? 0) + 1);
    }
  }

  async #end(step: Step): Promise<void> {
    const over = this.running.filter(({ endsMs }) => endsMs <= nowMs);
    this.running = this.running.filter(({ endsMs }) => endsMs > nowMs);
    step.usedTokens = over.length * (PROMPT_TOKENS + OUTPUT_TOKENS);
    const byPlace = Map.groupBy(over, ({ at }) => at);
    await Promise.all(
      [...byPlace].map(([at, ended]) => this.#tenant.budget(at).report(ended.map(({ report }) => report))),
    );
  }

  /** No more requests: those that run end, and isolates have told of their last blocks. */
  async rest(): Promise<void> {
    nowMs += this.#lifeMs;
    await this.#end({ atMs: nowMs, admitted: 0, usedTokens: 0, running: 0, byPlace: new Map() });
    await Promise.all(this.later);
  }

  /** Of the last seconds: which part of all that was admitted each object admitted. */
  shares(seconds: number): number[] {
    const steps = this.steps.slice((-seconds * 1_000) / STEP_MS);
    const at = (place: string) => steps.reduce((sum, { byPlace }) => sum + (byPlace.get(place) ?? 0), 0);
    const all = steps.reduce((sum, { admitted }) => sum + admitted, 0);
    return PLACES.map((place) => at(place) / all);
  }
}

const PLENTY: Limits = {
  tokensPerMinute: 1_000_000_000,
  requestsPerMinute: 1_000_000,
  concurrentRequests: 100_000,
};

describe("a tenant too hot for one object", () => {
  test("is spread over shards, which then stay; usage adds up, and when it cools down all is given back", {
    timeout: 300_000,
  }, async () => {
    const of = await tenant(PLENTY);
    const traffic = new Traffic(of, 1_000);
    await traffic.pass(10);
    expect(traffic.shares(5)[0], "all begin at the location's own object").toBeGreaterThan(0.5);
    await traffic.pass(60);
    const spread = traffic.shares(10);
    expect(Math.max(...spread)).toBeLessThan(0.5);
    await traffic.pass(20);
    for (const [shard, share] of traffic.shares(10).entries()) expect(share).toBeCloseTo(spread[shard]!, 1);
    await traffic.rest();
    const hot = (await of.budget("enam").usage())!;
    const { requests } = traffic;
    expect(traffic.refusals.size).toBe(0);
    expect(hot.totals).toMatchObject({
      ...{ requests, promptTokens: requests * PROMPT_TOKENS, outputTokens: requests * OUTPUT_TOKENS },
    });
    // Also of the blocks at shards that isolates have left, long before those would run out.
    expect(hot.open).toEqual({ reservations: 0, running: 0, reservedTokens: 0 });

    await traffic.pass(200, 1 / 40);
    expect(traffic.shares(20)[0]).toBe(1);
    await traffic.rest();
    for (let turn = 0; turn < 8; turn += 1) {
      nowMs += LEASE_TTL_MS;
      await traffic.alarms();
    }
    const cold = (await of.budget("enam").usage())!;
    expect(cold.totals.requests).toBe(traffic.requests);
    expect(cold.limits.find(({ scope }) => scope === "tenant")).toMatchObject({
      tokensPerMinute: { available: PLENTY.tokensPerMinute },
      requestsPerMinute: { available: PLENTY.requestsPerMinute },
      concurrentRequests: { running: 0 },
    });
  });

  test("a revoked key admits nothing anywhere after a lease's time to live", {
    timeout: 300_000,
  }, async () => {
    const of = await tenant(PLENTY);
    const traffic = new Traffic(of, 1_000);
    await traffic.pass(45);
    expect(traffic.shares(5).filter((share) => share > 0).length).toBeGreaterThan(1);
    await of.budget("enam").configure(tenantRecord(PLENTY, { version: 2, key: { revokedAtMs: nowMs } }));
    const revokedMs = nowMs;
    await traffic.pass(20);
    const admitted = (fromMs: number, toMs: number) =>
      traffic.steps
        .filter(({ atMs }) => atMs > fromMs && atMs <= toMs)
        .reduce((sum, step) => sum + step.admitted, 0);
    expect(admitted(revokedMs + LEASE_TTL_MS, Infinity)).toBe(0);
    expect([...traffic.refusals.keys()]).toEqual(["revoked_key"]);
  });

  test.each<[string, Limits, number]>([
    ["tokens per minute", { ...PLENTY, tokensPerMinute: 60_000 }, 1_000],
    ["requests per minute", { ...PLENTY, requestsPerMinute: 720 }, 1_000],
    ["concurrent requests", { ...PLENTY, concurrentRequests: 60 }, 2_000],
  ])("%s hold over all shards together", { timeout: 300_000 }, async (_, limits, lifeMs) => {
    const of = await tenant(PLENTY);
    const traffic = new Traffic(of, lifeMs);
    await traffic.pass(25);
    expect(traffic.shares(5).filter((share) => share > 0).length).toBeGreaterThan(1);
    const from = traffic.steps.length;
    await of.budget("enam").configure(tenantRecord(limits, { version: 2 }));
    await traffic.pass(60);
    expectBound(traffic.steps.slice(from + (2 * LEASE_TTL_MS) / STEP_MS), limits);
    expect(traffic.refusals.get("rate_limited")).toBeGreaterThan(0);
  });
});

/** In every window of whole steps: at most the capacity and what was refilled. */
function expectBound(steps: readonly Step[], limits: Limits): void {
  const { concurrentRequests = 0, requestsPerMinute = 0, tokensPerMinute = 0 } = limits;
  for (let first = 0; first < steps.length; first += 1) {
    let [tokens, requests] = [0, 0];
    for (let last = first; last < steps.length; last += 1) {
      tokens += steps[last]!.usedTokens;
      requests += steps[last]!.admitted;
      const minutes = ((last - first + 1) * STEP_MS) / 60_000;
      if (tokens > tokensPerMinute * (1 + minutes) || requests > requestsPerMinute * (1 + minutes))
        expect.fail(`${tokens} tokens and ${requests} requests in ${minutes} minutes`);
    }
    expect(steps[first]!.running).toBeLessThanOrEqual(concurrentRequests);
  }
}
