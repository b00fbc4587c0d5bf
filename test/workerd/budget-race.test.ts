import { evictDurableObject, runDurableObjectAlarm, runInDurableObject } from "cloudflare:test";
import { env as bindings } from "cloudflare:workers";
import { describe, test } from "vitest";
import { REPORT_SILENCE_MAX_MS } from "../../src/bounds.ts";
import { budgetName, homeOf, type TenantBudgetStub } from "../../src/durable/stub.ts";
import type { Env } from "../../src/env.ts";
import { RACE_WORD_MS } from "../../src/limits/bounds.ts";
import type { BudgetReport } from "../../src/limits/messages.ts";
import { ASK, tenantRecord } from "../support/tenant.ts";

const env = bindings as unknown as Env;

/** A request of which two attempts race, at the home of a tenant of its own. */
async function racing() {
  const stub = env.TENANT_BUDGET.getByName(budgetName(homeOf(crypto.randomUUID().slice(0, 11), "enam")));
  const budget = stub as unknown as TenantBudgetStub;
  await budget.configure(tenantRecord({ tokensPerMinute: 10_000, concurrentRequests: 20 }));
  await budget.reserve({ ...ASK, requestId: "a" });
  await budget.race("a", [0, 1]);
  return { stub, budget };
}

function said(attempt: number, outputTokens: number, final: boolean): BudgetReport {
  const usage = { promptTokens: 10, cachedTokens: 0, outputTokens };
  const of = { requestId: "a", keyId: ASK.keyId, model: "m", attempt, usage, final };
  return { ...of, tokensPerSecond: 50, unsent: false };
}

const alarmAtMs = (stub: DurableObjectStub) =>
  runInDurableObject(stub, (_, { storage }) => storage.getAlarm());

const NOTHING_OPEN = { reservations: 0, running: 0, reservedTokens: 0 };

describe("a race whose edge died", () => {
  test("is looked at as soon as the word on it is overdue, and not after a minute", async ({ expect }) => {
    const { stub, budget } = await racing();
    await budget.report([said(0, 5, true)]);
    expect(await alarmAtMs(stub)).toBeGreaterThan(Date.now() + RACE_WORD_MS);
    expect(await budget.report([said(1, 70, true)])).toEqual({ stop: [] });
    const atMs = (await alarmAtMs(stub))!;
    expect(atMs).toBeLessThanOrEqual(Date.now() + RACE_WORD_MS);
    expect(RACE_WORD_MS).toBeLessThan(REPORT_SILENCE_MAX_MS);
    expect((await budget.usage())!.open).toMatchObject({ reservations: 1, running: 1 });
  });

  test("is paid for once, by the costlier attempt, also after an eviction", async ({ expect }) => {
    const { stub, budget } = await racing();
    await budget.report([said(0, 5, true), said(1, 70, true)]);
    await runInDurableObject(stub, (_, { storage }) => {
      storage.sql.exec("UPDATE reservations SET deadline_ms = 1 WHERE state = 'open'");
    });
    await evictDurableObject(stub);
    await runDurableObjectAlarm(stub);
    await budget.elect("a", 0);
    await budget.report([said(0, 5, true), said(1, 70, true)]);
    const { totals, open, limits } = (await budget.usage())!;
    expect(totals).toMatchObject({ promptTokens: 10, outputTokens: 70, requests: 1 });
    expect(open).toEqual(NOTHING_OPEN);
    expect(limits[0]!.concurrentRequests).toEqual({ limit: 20, running: 0 });
  });

  test("is charged to the named one where that word survives an eviction", async ({ expect }) => {
    const { stub, budget } = await racing();
    await budget.report([said(0, 70, false)]);
    await evictDurableObject(stub);
    await budget.elect("a", 1);
    await evictDurableObject(stub);
    await budget.report([said(0, 90, true), said(1, 5, true)]);
    const { totals, open } = (await budget.usage())!;
    expect(totals).toMatchObject({ promptTokens: 10, outputTokens: 5, requests: 1 });
    expect(open).toEqual(NOTHING_OPEN);
  });
});
