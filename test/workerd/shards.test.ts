import { runDurableObjectAlarm } from "cloudflare:test";
import { env as bindings } from "cloudflare:workers";
import { afterEach, expect, test, vi } from "vitest";
import type { BudgetPlace, Limits } from "../../src/catalogue.ts";
import { budgetName, homeOf, type TenantBudgetStub } from "../../src/durable/stub.ts";
import type { Env } from "../../src/env.ts";
import type { BudgetReport } from "../../src/limits/messages.ts";
import type { Exchange } from "../../src/relay/exchange.ts";
import { type Reservation, reserve } from "../../src/relay/reserve.ts";
import type { View } from "../../src/relay/view.ts";
import { Trace } from "../../src/telemetry/trace.ts";
import { ASK, tenantRecord } from "../support/tenant.ts";

const env = bindings as unknown as Env;
afterEach(() => {
  vi.restoreAllMocks();
});

const LIMITS = { tokensPerMinute: 1_000_000_000, tokensPerDay: 2_000_000_000, concurrentRequests: 1_000_000 };

/** A tenant of its own, whose home is in `enam`, and its objects by place. */
async function tenant(limits: Limits, more: Parameters<typeof tenantRecord>[1] = {}) {
  const home = homeOf(crypto.randomUUID().slice(0, 11), "enam");
  const stub = (at: BudgetPlace) => env.TENANT_BUDGET.getByName(budgetName({ ...home, at }));
  const budget = (at: BudgetPlace) => stub(at) as unknown as TenantBudgetStub;
  await budget("enam").configure(tenantRecord(limits, more));
  return { ref: home.tenantRef, stub, budget };
}

function said(requestId: string, outputTokens: number): BudgetReport {
  const usage = { promptTokens: 10, cachedTokens: 4, outputTokens };
  return {
    ...{ requestId, keyId: ASK.keyId, model: "m", attempt: 0, usage, final: true },
    ...{ tokensPerSecond: 50, unsent: false },
  };
}

const BLOCK = { ...ASK, weights: { input: 1_000, cachedInput: 1_000, output: 1_000 } };

/** Isolates admit so much out of blocks that the object is over half of its measured rate. */
async function heat(budget: TenantBudgetStub): Promise<void> {
  const [requests, tokens] = [15_000, 15_000 * 266];
  const ask = { ...BLOCK, id: "blk_hot", requests, tokens };
  const answer = await budget.blocks(ask, []);
  expect(answer).toMatchObject({ ok: true, requests });
  expect(answer).not.toHaveProperty("shards");
  await budget.blocks(null, [{ id: "blk_hot", requests, tokens }]);
}

let asks = 0;
/** Asks as an isolate in `from` does until it is admitted on a lease there: its first request earns one. */
async function leased(budget: TenantBudgetStub, from: "enam" | "weur", at: BudgetPlace): Promise<string> {
  return vi.waitFor(async () => {
    const requestId = `req_${++asks}`;
    const answer = await budget.reserve({ ...ASK, from, requestId });
    if (answer.ok && answer.at !== at) await budget.cancel(requestId);
    expect(answer).toMatchObject({ ok: true, at, mode: "lease", leaseHere: true });
    return requestId;
  });
}

test("a hot object shares its location's requests out, shards earn leases, and one bill adds all up", async () => {
  const { budget, stub } = await tenant(LIMITS);
  const home = budget("enam");
  expect(await home.reserve({ ...ASK, requestId: "before" })).not.toHaveProperty("shards");
  await heat(home);
  expect(await home.reserve({ ...ASK, requestId: "after" })).toMatchObject({
    ok: true,
    at: "enam",
    shards: 2,
  });
  const elsewhere = await home.reserve({ ...ASK, from: "weur", requestId: "far" });
  expect(elsewhere, "who is not here is not told").not.toHaveProperty("shards");

  const shard = budget("enam#1");
  const requestId = await leased(shard, "enam", "enam#1");
  const answer = await shard.reserve({ ...ASK, requestId });
  expect(answer, "only the location's own object decides").not.toHaveProperty("shards");
  const away = await leased(budget("weur#3"), "weur", "weur#3");
  await home.report([said("before", 100), said("after", 20)]);
  await shard.report([said(requestId, 7), said(requestId, 7)]);
  await budget("weur#3").report([said(away, 3)]);
  const { byKey, totals } = (await home.usage())!;
  expect(totals).toEqual({ promptTokens: 40, cachedTokens: 16, outputTokens: 130, requests: 4 });
  expect(byKey).toHaveLength(1);

  // A key that is revoked at home is revoked at the shard with its next renewal.
  await home.configure(tenantRecord(LIMITS, { version: 2, key: { revokedAtMs: 1 } }));
  await runDurableObjectAlarm(stub("enam#1"));
  const revoked = await shard.reserve({ ...ASK, requestId: "late" });
  expect(revoked).toMatchObject({ ok: false, failure: { tag: "revoked_key" } });
});

test("limits hold over a home and its shards together", async () => {
  const { budget } = await tenant({ tokensPerMinute: 100_000, concurrentRequests: 12 });
  await leased(budget("enam#1"), "enam", "enam#1");
  await leased(budget("enam#2"), "enam", "enam#2");
  const places: BudgetPlace[] = ["enam", "enam#1", "enam#2"];
  const asked = Array.from({ length: 60 }, (_, index) => ({
    at: places[index % 3]!,
    requestId: `many_${index}`,
  }));
  const answers = await Promise.all(
    asked.map(({ at, requestId }) => budget(at).reserve({ ...ASK, requestId })),
  );
  const admitted = answers.filter(({ ok }) => ok).length;
  expect(admitted + 2).toBeLessThanOrEqual(12);
  expect(admitted).toBeGreaterThan(0);
  for (const answer of answers) {
    if (!answer.ok) expect(answer.failure.tag).toBe("rate_limited");
  }
});

test("a tenant whose end users have limits is not shared out: those are kept at the home alone", async () => {
  const { budget } = await tenant(LIMITS, { endUserLimits: { tokensPerMinute: 1_000 } });
  await heat(budget("enam"));
  const answer = await budget("enam").reserve({ ...ASK, requestId: "a" });
  expect(answer.ok).toBe(true);
  expect(answer).not.toHaveProperty("shards");
});

/** This isolate's next request, through the relay's own code. */
async function request(tenantRef: string, over: Env = env): Promise<{ id: string; reserved: Reservation }> {
  const id = `req_${++asks}`;
  const measure = { proseChars: 30, codeChars: 0, cjkChars: 0, otherChars: 0 };
  const call = { ...ASK, endpoint: "chat", measure, fixedTokens: 0, stream: true };
  const { keyId, secretHash } = ASK;
  const exchange = {
    ...{ env: over, here: "enam", call, trace: new Trace(id, Date.now()), terms: { id, free: false } },
    ...{ claims: { tenantRef, keyId, secretHash, homeHint: "enam" }, ctx: { waitUntil: () => undefined } },
  } as unknown as Exchange;
  const view = { learned: new Map() } as unknown as View;
  const model = { id: "m", version: 1 } as unknown as Parameters<typeof reserve>[1];
  return { id, reserved: await reserve(exchange, model, view) };
}

/** The isolate's number is odd, so of two shards it asks the second. */
function odd(): void {
  const real = crypto.getRandomValues.bind(crypto);
  vi.spyOn(crypto, "getRandomValues").mockImplementation((numbers) => {
    const drawn = real(numbers);
    if (drawn instanceof Uint32Array && drawn.length === 1) drawn[0] = 7;
    return drawn;
  });
}

test("an isolate goes to its shard, draws on blocks there, and passes over one that is out of reach", {
  timeout: 30_000,
}, async () => {
  odd();
  const { budget, ref } = await tenant(LIMITS);
  await heat(budget("enam"));
  const made = [await request(ref)];
  expect(made[0]!.reserved.address.at, "told by this answer").toBe("enam");
  // A block is a small part of a lease, and a lease is for the demand so far: it takes a few renewals.
  const drawn = async () => {
    for (let index = 0; index < 100; index += 1) made.push(await request(ref));
    expect(made.at(-1)!.reserved).toMatchObject({ mode: "block", address: { at: "enam#1" } });
  };
  await vi.waitFor(drawn, { timeout: 20_000 });
  const modes = new Set(made.slice(1).map(({ reserved }) => `${reserved.mode} ${reserved.address.at}`));
  expect([...modes]).toContain("lease enam#1");
  for (const { id, reserved } of made) {
    const block = reserved.block === null ? {} : { block: reserved.block };
    await budget(reserved.address.at).report([{ ...said(id, 5), ...block }]);
  }
  const { totals } = (await budget("enam").usage())!;
  const requests = made.length;
  expect(totals).toMatchObject({ requests, promptTokens: requests * 10, outputTokens: requests * 5 });

  const { ref: other, budget: hot } = await tenant(LIMITS);
  await heat(hot("enam"));
  await request(other);
  const { TENANT_BUDGET } = env;
  const reserveFails = { reserve: () => Promise.reject(new Error("out of reach")) };
  const getByName = (name: string) =>
    name.endsWith("#1") ? reserveFails : (TENANT_BUDGET.getByName(name) as unknown as TenantBudgetStub);
  const cut = { ...env, TENANT_BUDGET: { getByName } } as unknown as Env;
  expect((await request(other, cut)).reserved).toMatchObject({ mode: "home", address: { at: "enam" } });
});
