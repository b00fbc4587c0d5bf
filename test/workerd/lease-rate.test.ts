import { evictDurableObject, runDurableObjectAlarm, runInDurableObject } from "cloudflare:test";
import { env as bindings } from "cloudflare:workers";
import { expect, test, vi } from "vitest";
import type { BudgetPlace } from "../../src/catalogue.ts";
import { budgetName, homeOf, type TenantBudgetStub } from "../../src/durable/stub.ts";
import type { Env } from "../../src/env.ts";
import type { Account } from "../../src/limits/account.ts";
import { NONE, type Renewal } from "../../src/limits/lease.ts";
import type { LeaseAccount } from "../../src/limits/lease-holder.ts";
import type { Lease } from "../../src/limits/lease-home.ts";
import { ASK, tenantRecord } from "../support/tenant.ts";

const env = bindings as unknown as Env;
const PER_MINUTE = 60_000_000;

async function tenant(key = {}) {
  const home = homeOf(crypto.randomUUID().slice(0, 11), "enam");
  const stub = (at: BudgetPlace) => env.TENANT_BUDGET.getByName(budgetName({ ...home, at }));
  const budget = (at: BudgetPlace) => stub(at) as unknown as TenantBudgetStub;
  await budget("enam").configure(tenantRecord({ tokensPerMinute: PER_MINUTE }, { key }));
  const body = async <Body>(at: BudgetPlace, table: "accounts" | "leases", scope = "tenant"): Promise<Body> =>
    runInDurableObject(stub(at), (_, { storage }) => {
      const query = `SELECT body FROM ${table} WHERE scope = ?`;
      return JSON.parse(storage.sql.exec<{ body: string }>(query, scope).one().body) as Body;
    });
  return { stub, budget, body };
}

function renewal(holder: BudgetPlace, scope: string, tokensPerSecond: number): Renewal {
  const counters = { lease: 0, sequence: 1, settled: NONE, returned: NONE };
  const pace = { tokensPerSecond, streams: 1, meanTokens: 500 };
  return { holder, scope, ...counters, want: { ...NONE, requests: 10 }, pace, heldTokens: 90 };
}

test("a holder reports its streams' pace, is told what it may count on, and the home leaves that aside", async () => {
  const { body, budget, stub } = await tenant();
  const holder = budget("weur");
  const requestId = await vi.waitFor(async () => {
    const id = crypto.randomUUID();
    expect(await holder.reserve({ ...ASK, from: "weur", requestId: id })).toMatchObject({ at: "weur" });
    return id;
  });
  const usage = { promptTokens: 10, cachedTokens: 0, outputTokens: 20 };
  const said = { requestId, keyId: ASK.keyId, model: "m", attempt: 0, usage, final: false };
  await holder.report([{ ...said, tokensPerSecond: 70, unsent: false }]);
  await vi.waitFor(async () => {
    await runDurableObjectAlarm(stub("weur"));
    expect((await body<Lease>("enam", "leases")).pace).toMatchObject({ tokensPerSecond: 70, streams: 1 });
    const told = (await body<LeaseAccount>("weur", "accounts")).ratePerMinute!;
    // Nobody else asks for anything.
    expect(told).toBe(PER_MINUTE);
    const { elsewhere } = await body<Account>("enam", "accounts");
    expect(elsewhere).toMatchObject({
      pace: { tokensPerSecond: 70, streams: 1 },
      allottedPerSecond: told / 60,
    });
  });
  await evictDurableObject(stub("enam"));
  expect((await budget("enam").usage())!.limits[0]!.scope).toBe("tenant");
  expect((await body<Account>("enam", "accounts")).elsewhere.pace.streams).toBe(1);
});

test("the home's own location has a claim on what is left over, for the tenant and for each key", async () => {
  const { budget } = await tenant({ limits: { tokensPerMinute: 6_000 } });
  const home = budget("enam");
  const scopes = ["tenant", `key:${ASK.keyId}`];
  const told = async (holder: BudgetPlace) => {
    const { terms } = await home.renew(
      scopes.map((scope) => renewal(holder, scope, 10)),
      1,
    );
    return terms.map(({ ratePerMinute }) => ratePerMinute!);
  };
  expect(await told("weur")).toEqual([PER_MINUTE, 6_000]);
  for (const requestId of ["a", "b"]) await home.reserve({ ...ASK, requestId });
  const shared = await told("apac");
  expect(shared[0]).toBeGreaterThan(600);
  expect(shared[0]).toBeLessThan(PER_MINUTE / 2);
  expect(shared[1]).toBeLessThan(3_000);
});
