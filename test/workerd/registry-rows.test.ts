import { runInDurableObject } from "cloudflare:test";
import { afterEach, describe, test, vi } from "vitest";
import { AUDIT_KEPT, DAY_MS } from "../../src/bounds.ts";
import type { ApiKey } from "../../src/catalogue.ts";
import { ENDED_KEY_KEPT_MS, KEYS_PER_TENANT_MAX } from "../../src/durable/registry/bounds.ts";
import { migrate } from "../../src/durable/schema.ts";
import { by, claimsFor, FIRST_PAGE, fresh, made, newTenant, watchBudgets } from "./registry-rig.ts";

afterEach(() => {
  vi.restoreAllMocks();
});

describe("keys", () => {
  test("a record holds hashes and status of a tenant's keys", async ({ expect }) => {
    const { registry } = fresh();
    const budgets = watchBudgets();
    const tenant = await newTenant(registry, "keyed");
    const limits = { requestsPerMinute: 5 };
    const key = made(
      await registry.createKey(by(), "keyed", { name: "a", limits }, await claimsFor("keyed")),
    );
    const expected = {
      id: key.id,
      secretHash: `hash of ${key.id}`,
      limits,
      expiresAtMs: null,
      revokedAtMs: null,
    };
    expect((await registry.tenantRecord(tenant.ref))!.keys).toEqual([expected]);
    expect(budgets.taken.at(-1)!.keys).toEqual([expected]);
    await registry.revokeKey(by(), "keyed", key.id);
    expect(budgets.taken.at(-1)!.keys).toEqual([{ ...expected, revokedAtMs: expect.any(Number) }]);
  });

  test("a key minted for another tenant of the same id is refused", async ({ expect }) => {
    const { registry } = fresh();
    watchBudgets();
    await newTenant(registry, "moved");
    const claims = { ...(await claimsFor("moved")), homeHint: "oc" as const };
    expect(await registry.createKey(by(), "moved", { name: "k", limits: {} }, claims)).toMatchObject({
      failure: { tag: "conflict" },
    });
  });

  test("a rotation never prolongs the old key", async ({ expect }) => {
    const { registry } = fresh();
    watchBudgets();
    await newTenant(registry, "short");
    const expiresAtMs = Date.now() + 60_000;
    const input = { name: "k", limits: {}, expiresAtMs };
    const old = made(await registry.createKey(by(), "short", input, await claimsFor("short")));
    const claims = await claimsFor("short", "n".padEnd(10, "0"));
    const renewed = made(await registry.rotateKey(by(), "short", old.id, DAY_MS, claims));
    expect(renewed).toMatchObject({ name: "k", expiresAtMs });
    const page = await registry.listKeys("short", FIRST_PAGE);
    expect(page).toMatchObject({
      ok: true,
      value: { data: [{ id: old.id, expiresAtMs }, { id: renewed.id }] },
    });
  });

  test("a tenant's keys are bounded; the place of a long ended one is free again", async ({ expect }) => {
    const { stub, registry } = fresh();
    watchBudgets();
    await newTenant(registry, "many");
    const nowMs = Date.now();
    const ended: Partial<ApiKey> = {
      id: "old",
      tenantId: "many",
      revokedAtMs: nowMs - ENDED_KEY_KEPT_MS + 60_000,
    };
    await runInDurableObject(stub, (_, { storage }) => {
      const query = "INSERT INTO keys (id, tenant_id, secret_hash, document) VALUES (?, 'many', 'h', ?)";
      for (let index = 1; index < KEYS_PER_TENANT_MAX; index++) {
        const key = { id: `key${index}`, tenantId: "many", revokedAtMs: null, limits: {} };
        storage.sql.exec(query, key.id, JSON.stringify(key));
      }
      storage.sql.exec(query, "old", JSON.stringify(ended));
    });
    const input = { name: "one more", limits: {} };
    expect(await registry.createKey(by(), "many", input, await claimsFor("many"))).toMatchObject({
      failure: { tag: "conflict" },
    });
    await runInDurableObject(stub, (_, { storage }) => {
      const document = JSON.stringify({ ...ended, revokedAtMs: nowMs - ENDED_KEY_KEPT_MS - 1 });
      storage.sql.exec("UPDATE keys SET document = ? WHERE id = 'old'", document);
    });
    expect(await registry.createKey(by(), "many", input, await claimsFor("many"))).toMatchObject({
      ok: true,
    });
  });
});

describe("catalogue and audit", () => {
  const pool = {
    id: "fra-1",
    region: "fra",
    position: { latitude: 50, longitude: 8 },
    hint: "weur",
    gates: ["https://gate.example.net"],
    models: [{ model: "m", concurrencyPerReplica: 10 }],
    drained: false,
  } as const;

  test("the catalogue is sent only to those that have another version", async ({ expect }) => {
    const { registry } = fresh();
    expect(await registry.catalogue(0)).toBeNull();
    expect(await registry.catalogue(-1)).toEqual({ version: 0, models: [], pools: [], controls: [] });
    await registry.createModel(by(), { id: "m", kind: "generate" });
    await registry.createPool(by(), { ...pool, gates: [...pool.gates], models: [...pool.models] });
    const catalogue = (await registry.catalogue(0))!;
    expect(catalogue).toMatchObject({ models: [{ id: "m" }], pools: [{ id: "fra-1", secretVersion: 1 }] });
    expect(await registry.catalogue(catalogue.version)).toBeNull();
    expect(await registry.catalogue(catalogue.version + 7)).toEqual(catalogue);
    await registry.removePool(by(), "fra-1", null);
    expect(await registry.catalogue(catalogue.version)).toMatchObject({ pools: [] });
  });

  test("a pool that is created again gets secrets that its gates never had", async ({ expect }) => {
    const { registry } = fresh();
    const input = { ...pool, gates: [...pool.gates], models: [...pool.models] };
    await registry.createModel(by(), { id: "m", kind: "generate" });
    await registry.createPool(by(), input);
    const rotated = made(await registry.rotatePoolSecret(by(), "fra-1"));
    expect(rotated.secretVersion).toBe(2);
    await registry.removePool(by(), "fra-1", null);
    const again = made(await registry.createPool(by(), input));
    // Accepted are this version and the one before; neither was in use.
    expect(again.secretVersion - 1).toBeGreaterThan(rotated.secretVersion);
  });

  test("the audit log keeps its bound and drops the oldest", async ({ expect }) => {
    const { stub, registry } = fresh();
    await registry.createModel(by(), { id: "first", kind: "generate" });
    await runInDurableObject(stub, (_, { storage }) => {
      storage.sql.exec("UPDATE sqlite_sequence SET seq = ? WHERE name = 'audit'", AUDIT_KEPT - 1);
    });
    await registry.createModel(by(), { id: "second", kind: "generate" });
    const targets = async () => (await registry.listAudit(FIRST_PAGE)).data.map((entry) => entry.target);
    expect(await targets()).toEqual(["models/second", "models/first"]);
    await registry.createModel(by(), { id: "third", kind: "generate" });
    expect(await targets()).toEqual(["models/third", "models/second"]);
  });

  test("migrations run once each, in order, and leave newer tables alone", async ({ expect }) => {
    const { stub } = fresh();
    const names = await runInDurableObject(stub, (_, { storage }) => {
      const { sql } = storage;
      sql.exec("DROP TABLE migrations");
      const one = "CREATE TABLE first (id INTEGER); INSERT INTO first (id) VALUES (1)";
      migrate(sql, [one]);
      migrate(sql, [one, "CREATE TABLE second (id INTEGER)"]);
      migrate(sql, [one]);
      sql.exec("SELECT * FROM second").toArray();
      return sql.exec<{ id: number }>("SELECT id FROM first").toArray();
    });
    expect(names).toEqual([{ id: 1 }]);
  });
});
