import { evictDurableObject, runDurableObjectAlarm, runInDurableObject } from "cloudflare:test";
import { afterEach, describe, test, vi } from "vitest";
import { OUTBOX_RETRY_MAX_MS } from "../../src/bounds.ts";
import { PUSH_TIMEOUT_MS } from "../../src/durable/registry/bounds.ts";
import { addressOf, Outbox } from "../../src/durable/registry/outbox.ts";
import { tenantRefOf } from "../../src/keys.ts";
import {
  by,
  claimsFor,
  FIRST_PAGE,
  fresh,
  makeDue,
  newTenant,
  outboxOf,
  tenantInput,
  watchBudgets,
} from "./registry-rig.ts";

afterEach(() => {
  vi.restoreAllMocks();
});

describe("outbox", () => {
  test("a change reaches the budget object before it is answered", async ({ expect }) => {
    const { stub, registry } = fresh();
    const budgets = watchBudgets();
    const change = await registry.createTenant(by(), tenantInput("prompt"));
    expect(change).toMatchObject({ ok: true, inForce: true });
    expect(budgets.taken.map((record) => record.tenant.id)).toEqual(["prompt"]);
    expect(await outboxOf(stub)).toEqual([]);
  });

  test("what a budget object did not take is kept and delivered by the alarm", async ({ expect }) => {
    const { stub, registry } = fresh();
    const budgets = watchBudgets();
    budgets.down = true;
    const change = await registry.createTenant(by(), tenantInput("later"));
    expect(change).toMatchObject({ ok: true, inForce: false });
    expect(await outboxOf(stub)).toMatchObject([{ attempts: 1 }]);

    await evictDurableObject(stub);
    await makeDue(stub);
    await runDurableObjectAlarm(stub);
    expect(await outboxOf(stub)).toMatchObject([{ attempts: 2 }]);

    budgets.down = false;
    await makeDue(stub);
    await runDurableObjectAlarm(stub);
    expect(await outboxOf(stub)).toEqual([]);
    expect(budgets.taken.map((record) => record.tenant.id)).toEqual(["later"]);
  });

  test("attempts come further and further apart, up to a bound", async ({ expect }) => {
    const { stub, registry } = fresh();
    const budgets = watchBudgets();
    budgets.down = true;
    await registry.createTenant(by(), tenantInput("patient"));
    const gapsMs: number[] = [];
    for (let attempt = 0; attempt < 8; attempt++) {
      await makeDue(stub);
      const beforeMs = Date.now();
      await runDurableObjectAlarm(stub);
      const [row] = await outboxOf(stub);
      const alarmAtMs = await runInDurableObject(stub, (_, state) => state.storage.getAlarm());
      expect(alarmAtMs).toBe(row!.due_at_ms);
      gapsMs.push(Math.floor((row!.due_at_ms - beforeMs) / 1_000) * 1_000);
    }
    expect(gapsMs).toEqual([2_000, 4_000, 8_000, 16_000, 32_000, 60_000, 60_000, OUTBOX_RETRY_MAX_MS]);
  });

  test("the alarm is set together with the change, should nobody get to deliver it", async ({ expect }) => {
    const { stub, registry } = fresh();
    const budgets = watchBudgets();
    await newTenant(registry, "safe");
    // Delivered at the first attempt: so no failure has set it.
    expect(budgets.taken).toHaveLength(1);
    expect(await runInDurableObject(stub, (_, state) => state.storage.getAlarm())).toBeGreaterThan(0);
  });

  test("a newer record takes the place of one still to be delivered", async ({ expect }) => {
    const { stub, registry } = fresh();
    const budgets = watchBudgets();
    budgets.down = true;
    const tenant = await newTenant(registry, "twice");
    await registry.updateTenant(by(), "twice", tenant.version, { suspended: true });
    expect(await outboxOf(stub)).toHaveLength(1);
    budgets.down = false;
    await makeDue(stub);
    await runDurableObjectAlarm(stub);
    expect(budgets.taken.map((record) => record.tenant.suspended)).toEqual([true]);
  });

  test("a deletion suspends the budget object and takes its keys away", async ({ expect }) => {
    const { registry } = fresh();
    const budgets = watchBudgets();
    const tenant = await newTenant(registry, "gone");
    await registry.createKey(by(), "gone", { name: "k", limits: {} }, await claimsFor("gone"));
    await registry.removeTenant(by(), "gone", null);
    const last = budgets.taken.at(-1)!;
    expect(last).toMatchObject({ tenant: { suspended: true }, keys: [] });
    expect(last.tenant.version).toBeGreaterThan(tenant.version);
    expect(await registry.tenantRecord(tenant.ref)).toBeNull();
  });

  test("records of one tenant have growing versions, also over its deletion", async ({ expect }) => {
    const { registry } = fresh();
    const budgets = watchBudgets();
    await newTenant(registry, "phoenix");
    await registry.createKey(by(), "phoenix", { name: "k", limits: {} }, await claimsFor("phoenix"));
    await registry.revokeKey(by(), "phoenix", "k".padEnd(10, "0"));
    await registry.removeTenant(by(), "phoenix", null);
    await newTenant(registry, "phoenix");
    const versions = budgets.taken.map((record) => record.tenant.version);
    expect(versions).toHaveLength(5);
    expect(versions).toEqual([...new Set(versions)].sort((one, other) => one - other));
  });
});

describe("one delivery", () => {
  const record = async (version: number) => {
    const ref = await tenantRefOf("acme");
    return { tenant: { ...tenantInput("acme"), ref, version, createdAtMs: 0 }, keys: [] };
  };

  test("a record that was replaced while it was on its way does not count as delivered", async ({
    expect,
  }) => {
    const { stub } = fresh();
    const [older, newer] = [await record(1), await record(2)];
    await runInDurableObject(stub, async (_, { storage }) => {
      const outbox: Outbox = new Outbox(storage.sql, async () => outbox.put(newer, 0));
      outbox.put(older, 0);
      const address = addressOf(older.tenant);
      expect(await outbox.deliver(outbox.find(address)!, Date.now)).toBe(true);
      expect(outbox.find(address)!.record.tenant.version).toBe(2);
    });
  });

  test("an object that never answers is given up and tried again later", async ({ expect }) => {
    const { stub } = fresh();
    watchBudgets();
    const sent = await record(1);
    await runInDurableObject(stub, async (_, { storage }) => {
      vi.useFakeTimers();
      try {
        const outbox = new Outbox(storage.sql, () => new Promise(() => undefined));
        outbox.put(sent, 0);
        const delivery = outbox.deliver(outbox.find(addressOf(sent.tenant))!, () => 50_000);
        await vi.advanceTimersByTimeAsync(PUSH_TIMEOUT_MS);
        expect(await delivery).toBe(false);
        expect(outbox.nextDueAtMs()).toBe(51_000);
      } finally {
        vi.useRealTimers();
      }
    });
  });
});

describe("repeated delivery", () => {
  test("the same request changes things once and gets the same answer", async ({ expect }) => {
    const { stub, registry } = fresh();
    watchBudgets();
    const request = by();
    const first = await registry.createTenant(request, tenantInput("once"));
    await evictDurableObject(stub);
    expect(await registry.createTenant(request, tenantInput("once"))).toEqual(first);
    expect((await registry.listAudit(FIRST_PAGE)).data).toHaveLength(1);
    expect(await registry.createTenant(by(), tenantInput("once"))).toMatchObject({
      ok: false,
      failure: { tag: "already_exists" },
    });
  });

  test("a failed request changes nothing, the audit log included", async ({ expect }) => {
    const { registry } = fresh();
    watchBudgets();
    expect(await registry.updateTenant(by(), "nobody", 1, { name: "x" })).toMatchObject({ ok: false });
    expect((await registry.listAudit(FIRST_PAGE)).data).toEqual([]);
  });
});
