import {
  abortAllDurableObjects,
  evictDurableObject,
  runDurableObjectAlarm,
  runInDurableObject,
} from "cloudflare:test";
import { env as bindings } from "cloudflare:workers";
import { afterEach, describe, test, vi } from "vitest";
import { RESERVATION_KEPT_MS } from "../../src/bounds.ts";
import type { Limits } from "../../src/catalogue.ts";
import { budgetName, homeOf, type TenantBudgetStub } from "../../src/durable/stub.ts";
import type { TenantBudget } from "../../src/durable/tenant-budget.ts";
import type { Env } from "../../src/env.ts";
import type { BudgetReport, ReserveAsk } from "../../src/limits/messages.ts";
import { ASK, tenantRecord } from "../support/tenant.ts";

const env = bindings as unknown as Env;
afterEach(() => {
  vi.restoreAllMocks();
});

const LIMITS = { tokensPerMinute: 10_000, tokensPerDay: 50_000, concurrentRequests: 20 };

/** The home of a tenant of its own, which the registry has told what to know. */
async function home(limits: Limits = LIMITS, more: Parameters<typeof tenantRecord>[1] = {}) {
  const name = budgetName(homeOf(crypto.randomUUID().slice(0, 11), "enam"));
  /** A stub breaks with its object; whoever asks again takes a new one, as the Worker does for each request. */
  const reach = () => {
    const stub = env.TENANT_BUDGET.getByName(name);
    return { stub, budget: stub as unknown as TenantBudgetStub };
  };
  const { stub, budget } = reach();
  await budget.configure(tenantRecord(limits, more));
  return { stub, budget, reach };
}

function ask(requestId: string, more: Partial<ReserveAsk> = {}): ReserveAsk {
  return { ...ASK, from: "enam", requestId, ...more };
}

function said(requestId: string, outputTokens: number, final: boolean, attempt = 0): BudgetReport {
  const usage = { promptTokens: 10, cachedTokens: 4, outputTokens };
  return {
    ...{ requestId, keyId: ASK.keyId, model: "m", attempt, usage, final },
    ...{ tokensPerSecond: 50, unsent: false },
  };
}

const rows = <Row extends Record<string, SqlStorageValue>>(stub: DurableObjectStub, query: string) =>
  runInDurableObject(stub, (_, { storage }) => storage.sql.exec<Row>(query).toArray());

/** Lets every deadline be over, and drops the memory that still holds the old one. */
async function letDeadlinesPass(stub: DurableObjectStub): Promise<void> {
  await rows(stub, "UPDATE reservations SET deadline_ms = 1 WHERE state = 'open'");
  await evictDurableObject(stub);
}

const NOTHING_OPEN = { reservations: 0, running: 0, reservedTokens: 0 };

describe("the same message again", () => {
  test("a reserve holds once and gets the same answer", async ({ expect }) => {
    const { stub, budget } = await home();
    const first = await budget.reserve(ask("a"));
    const before = (await budget.usage())!.open;
    expect(before).toEqual({ reservations: 1, running: 1, reservedTokens: 266 });
    expect(await budget.reserve(ask("a"))).toMatchObject({ ok: true, reservedTokens: 266 });
    await evictDurableObject(stub);
    expect(await budget.reserve(ask("a"))).toMatchObject({ ok: true, reservedTokens: 266 });
    expect(first).toMatchObject({ ok: true, reservedTokens: 266 });
    expect((await budget.usage())!.open).toEqual(before);
  });

  test("reports settle each token once, also repeated, late and after an eviction", async ({ expect }) => {
    const { stub, budget } = await home();
    await budget.reserve(ask("a"));
    await budget.report([said("a", 30, false), said("a", 30, false)]);
    await budget.report([said("a", 80, true), said("a", 30, false)]);
    await evictDurableObject(stub);
    await budget.report([said("a", 80, true)]);
    const { totals, open, limits } = (await budget.usage())!;
    expect(totals).toEqual({ promptTokens: 10, cachedTokens: 4, outputTokens: 80, requests: 1 });
    expect(open).toEqual(NOTHING_OPEN);
    expect(limits[0]!.tokensPerDay).toEqual({ limit: 50_000, used: 90 });
  });

  test("cancel and finish act once, in any order with the last report", async ({ expect }) => {
    const { budget } = await home();
    for (const id of ["cancelled", "finished", "both"]) await budget.reserve(ask(id));
    await Promise.all([budget.cancel("cancelled"), budget.cancel("cancelled")]);
    await Promise.all([budget.finish("finished"), budget.finish("finished")]);
    expect((await budget.usage())!.open).toEqual({ reservations: 2, running: 1, reservedTokens: 532 });
    await budget.finish("both");
    await budget.report([said("both", 5, true), said("finished", 5, true)]);
    await Promise.all([budget.cancel("both"), budget.finish("both"), budget.cancel("nobody")]);
    const { totals, open } = (await budget.usage())!;
    expect(open).toEqual(NOTHING_OPEN);
    expect(totals).toEqual({ promptTokens: 20, cachedTokens: 8, outputTokens: 10, requests: 2 });
  });

  test("an older record of the tenant changes nothing, a newer one counts from the next call on", async ({
    expect,
  }) => {
    const { budget } = await home(LIMITS, { version: 5 });
    await budget.configure(tenantRecord(LIMITS, { version: 4, key: { revokedAtMs: 1 } }));
    expect(await budget.reserve(ask("a"))).toMatchObject({ ok: true });
    await budget.configure(tenantRecord(LIMITS, { version: 6, key: { revokedAtMs: 1 } }));
    expect(await budget.reserve(ask("b"))).toMatchObject({ ok: false, failure: { tag: "revoked_key" } });
    expect(await budget.check(ASK.keyId, ASK.secretHash)).toMatchObject({ ok: false });
  });
});

describe("losing its memory", () => {
  test.for([
    ["an eviction", evictDurableObject],
    ["an abort of all objects", () => abortAllDurableObjects()],
  ] as const)("%s between reserve and report loses nothing", async ([, lose], { expect }) => {
    const { stub, budget, reach } = await home({ tokensPerDay: 50_000, concurrentRequests: 20 });
    await budget.reserve(ask("a"));
    await budget.reserve(ask("b"));
    await budget.report([said("a", 20, false)]);
    const before = await budget.usage();
    await lose(stub);
    const again = reach().budget;
    const after = await again.usage();
    expect(after).toEqual(before);
    expect(after!.open).toMatchObject({ reservations: 2, running: 2 });
    await again.report([said("a", 50, true), said("b", 7, true)]);
    const { totals, open } = (await again.usage())!;
    expect(totals).toMatchObject({ promptTokens: 20, outputTokens: 57, requests: 2 });
    expect(open).toEqual(NOTHING_OPEN);
  });

  test("an abort in the middle of reserves: who was told to go has a row, and no token is given twice", async ({
    expect,
  }) => {
    const { budget, reach } = await home({ tokensPerDay: 500 });
    const small = { promptTokens: 50, generates: false };
    const reserve = (to: TenantBudgetStub, index: number) => to.reserve(ask(`r${index}`, small));
    await reserve(budget, 0);
    const cut = Promise.allSettled([1, 2, 3, 4].map((index) => reserve(budget, index)));
    await abortAllDurableObjects();
    const told = (await cut).map((call) => call.status === "fulfilled" && call.value.ok);
    const again = reach().budget;
    const admitted: boolean[] = [];
    for (let index = 0; index < 16; index++) admitted.push((await reserve(again, index)).ok);
    expect(admitted.filter(Boolean)).toHaveLength(10);
    expect([true, ...told].map((ok, index) => !ok || admitted[index])).toEqual([
      true,
      true,
      true,
      true,
      true,
    ]);
    expect((await again.usage())!.open).toEqual({ reservations: 10, running: 10, reservedTokens: 500 });
  });
});

describe("the alarm", () => {
  const states = (stub: DurableObjectStub) =>
    rows<{ id: string; state: string; held_tokens: number }>(
      stub,
      "SELECT id, state, held_tokens FROM reservations ORDER BY id",
    );

  test("is set for the first deadline", async ({ expect }) => {
    const { stub, budget } = await home();
    await budget.reserve(ask("a"));
    const [row] = await rows<{ deadline_ms: number }>(stub, "SELECT deadline_ms FROM reservations");
    await budget.reserve(ask("b"));
    expect(await runInDurableObject(stub, (_, { storage }) => storage.getAlarm())).toBe(row!.deadline_ms);
  });

  test("voids what no gate reported on, and settles what one did", async ({ expect }) => {
    const { stub, budget } = await home();
    for (const id of ["heard", "silent"]) await budget.reserve(ask(id));
    await budget.report([said("heard", 40, false)]);
    await letDeadlinesPass(stub);
    expect(await runDurableObjectAlarm(stub)).toBe(true);
    expect(await states(stub)).toEqual([
      { id: "heard", state: "settled", held_tokens: 0 },
      { id: "silent", state: "void", held_tokens: 0 },
    ]);
    const { totals, open, limits } = (await budget.usage())!;
    expect(open).toEqual(NOTHING_OPEN);
    expect(totals).toMatchObject({ promptTokens: 10, outputTokens: 40, requests: 1 });
    expect(limits[0]!.concurrentRequests).toEqual({ limit: 20, running: 0 });
  });

  test("does not touch what still runs", async ({ expect }) => {
    const { stub, budget } = await home();
    await budget.reserve(ask("a"));
    expect(await runDurableObjectAlarm(stub)).toBe(true);
    expect((await budget.usage())!.open).toMatchObject({ reservations: 1, running: 1 });
    // And it will look again.
    expect(await runInDurableObject(stub, (_, { storage }) => storage.getAlarm())).not.toBeNull();
  });

  test("a bill that comes after that is paid all the same, once", async ({ expect }) => {
    const { stub, budget } = await home();
    await budget.reserve(ask("a"));
    await letDeadlinesPass(stub);
    await runDurableObjectAlarm(stub);
    await budget.report([said("a", 40, true)]);
    await budget.report([said("a", 40, true)]);
    const { totals, open } = (await budget.usage())!;
    expect(totals).toMatchObject({ promptTokens: 10, outputTokens: 40, requests: 1 });
    expect(open).toEqual(NOTHING_OPEN);
  });

  test("forgets closed reservations when no ticket can name them any more", async ({ expect }) => {
    const { stub, budget } = await home();
    for (const id of ["old", "young"]) await budget.reserve(ask(id));
    await budget.report([said("old", 1, true), said("young", 1, true)]);
    const beforeMs = Date.now() - RESERVATION_KEPT_MS - 1;
    await rows(stub, `UPDATE reservations SET created_ms = ${beforeMs} WHERE id = 'old'`);
    await runDurableObjectAlarm(stub);
    expect((await states(stub)).map(({ id }) => id)).toEqual(["young"]);
    expect((await budget.usage())!.totals.requests).toBe(2);
  });
});

describe("many at once", () => {
  const small = { promptTokens: 100, generates: false };

  test.for([
    [{ tokensPerMinute: 1_000 }, "tokens_per_minute", 10],
    [{ tokensPerDay: 700 }, "tokens_per_day", 7],
    [{ requestsPerMinute: 5 }, "requests_per_minute", 5],
    [{ concurrentRequests: 3 }, "concurrent_requests", 3],
  ] as const)("32 reserves under %j never pass it", async ([limits, dimension, admitted], { expect }) => {
    const { budget } = await home(limits);
    const answers = await Promise.all(
      Array.from({ length: 32 }, (_, index) => budget.reserve(ask(`r${index}`, small))),
    );
    expect(answers.filter(({ ok }) => ok)).toHaveLength(admitted);
    for (const answer of answers) {
      if (!answer.ok) expect(answer.failure).toMatchObject({ tag: "rate_limited", dimension });
    }
    expect((await budget.usage())!.open).toEqual({
      reservations: admitted,
      running: admitted,
      reservedTokens: admitted * 100,
    });
  });

  test("the writes of one turn are one transaction", async ({ expect }) => {
    const { stub } = await home();
    const transactions = await runInDurableObject(stub, async (instance, { storage }) => {
      const budget = instance as unknown as TenantBudget;
      const commits = vi.spyOn(storage, "transactionSync");
      const asks = Array.from({ length: 20 }, (_, index) => budget.reserve(ask(`r${index}`)));
      const answers = await Promise.all(asks);
      expect(answers.every(({ ok }) => ok)).toBe(true);
      return commits.mock.calls.length;
    });
    expect(transactions).toBe(1);
  });

  test("one that cannot be booked fails alone", async ({ expect }) => {
    const { stub, budget } = await home();
    const results = await runInDurableObject(stub, (instance) => {
      const object = instance as unknown as TenantBudget;
      const broken = { ...said("b", 1, true), usage: null } as unknown as BudgetReport;
      return Promise.allSettled([
        object.reserve(ask("a")),
        object.report([broken]),
        object.reserve(ask("c")),
      ]);
    });
    expect(results.map(({ status }) => status)).toEqual(["fulfilled", "rejected", "fulfilled"]);
    expect((await budget.usage())!.open).toMatchObject({ reservations: 2, running: 2 });
  });
});

test("a tenant that nobody knows is refused", async ({ expect }) => {
  const stub = env.TENANT_BUDGET.getByName(budgetName(homeOf("nobody00000", "enam")));
  const budget = stub as unknown as TenantBudgetStub;
  expect(await budget.reserve(ask("a"))).toMatchObject({ ok: false, failure: { tag: "invalid_key" } });
  expect(await budget.usage()).toBeNull();
  expect(await budget.report([said("a", 5, true)])).toEqual({ stop: [] });
});
