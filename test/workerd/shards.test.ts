import { runDurableObjectAlarm } from "cloudflare:test";
import { afterEach, expect, test, vi } from "vitest";
import type { BudgetPlace } from "../../src/catalogue.ts";
import type { TenantBudgetStub } from "../../src/durable/stub.ts";
import type { Env } from "../../src/env.ts";
import { SHARD_HOT } from "../../src/limits/bounds.ts";
import type { ReserveAnswer } from "../../src/limits/messages.ts";
import { reserve } from "../../src/relay/reserve.ts";
import { ASK, tenantRecord } from "../support/tenant.ts";
import { env, newId, request, said, tenant } from "./isolate-rig.ts";

afterEach(() => {
  vi.restoreAllMocks();
});

const LIMITS = { tokensPerMinute: 1_000_000_000, tokensPerDay: 2_000_000_000, concurrentRequests: 1_000_000 };

const BLOCK = { ...ASK, weights: { input: 1_000, cachedInput: 1_000, output: 1_000 } };

/** Isolates admit so much out of blocks that the object is over half of its measured rate. */
async function heat(budget: TenantBudgetStub): Promise<void> {
  const [requests, tokens] = [15_000, 15_000 * 266];
  const ask = { ...BLOCK, id: "blk_hot", requests, tokens };
  const answer = await budget.blocks(ask, []);
  expect(answer).toMatchObject({ ok: true, requests });
  await budget.blocks(null, [{ id: "blk_hot", requests, tokens }]);
}

/** Asks as an isolate in `from` does until it is admitted on a lease there: its first request earns one. */
async function leased(budget: TenantBudgetStub, from: "enam" | "weur", at: BudgetPlace): Promise<string> {
  return vi.waitFor(async () => {
    const requestId = newId();
    const answer = await budget.reserve({ ...ASK, from, requestId });
    if (answer.ok && answer.at !== at) await budget.cancel(requestId);
    expect(answer).toMatchObject({ ok: true, at, mode: "lease", leaseHere: true });
    return requestId;
  });
}

test("a hot object shares its location's requests out, shards earn leases, and one bill adds all up", async () => {
  const { budget, stub } = await tenant(LIMITS);
  const home = budget("enam");
  const loadOf = (answer: ReserveAnswer) => (answer.ok ? answer.heat?.load : undefined);
  expect(loadOf(await home.reserve({ ...ASK, requestId: "before" }))).toBeLessThan(0.01);
  await heat(home);
  const after = await home.reserve({ ...ASK, requestId: "after" });
  expect(after).toMatchObject({ ok: true, at: "enam", heat: { at: "enam" } });
  expect(loadOf(after)).toBeGreaterThan(SHARD_HOT);
  const elsewhere = await home.reserve({ ...ASK, from: "weur", requestId: "far" });
  expect(elsewhere, "who is not here is not told").not.toHaveProperty("heat");

  const shard = budget("enam#1");
  const requestId = await leased(shard, "enam", "enam#1");
  const answer = await shard.reserve({ ...ASK, requestId });
  expect(answer, "of itself").toMatchObject({ heat: { at: "enam#1" } });
  expect(loadOf(answer)).toBeLessThan(0.1);
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
  expect(answer).not.toHaveProperty("heat");
});

/** An isolate tries another shard as soon as its own is crowded. */
function eager(): void {
  vi.spyOn(Math, "random").mockReturnValue(0);
}

test("an isolate goes to its shard, draws on blocks there, and passes over one that is out of reach", {
  timeout: 30_000,
}, async () => {
  eager();
  const { budget, ref } = await tenant(LIMITS);
  await heat(budget("enam"));
  const made = [await request(reserve, ref)];
  expect(made[0]!.reserved.address.at, "told by this answer").toBe("enam");
  // A block is a small part of a lease, and a lease is for the demand so far: it takes a few renewals.
  const drawn = async () => {
    for (let index = 0; index < 100; index += 1) made.push(await request(reserve, ref));
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
  await request(reserve, other);
  const { TENANT_BUDGET } = env;
  const reserveFails = { reserve: () => Promise.reject(new Error("out of reach")) };
  const getByName = (name: string) =>
    name.endsWith("#1") ? reserveFails : (TENANT_BUDGET.getByName(name) as unknown as TenantBudgetStub);
  const cut = { ...env, TENANT_BUDGET: { getByName } } as unknown as Env;
  expect((await request(reserve, other, cut)).reserved).toMatchObject({
    mode: "home",
    address: { at: "enam" },
  });
});
