import { env as bindings } from "cloudflare:workers";
import { afterEach, describe, test, vi } from "vitest";
import { DAY_MS, PAGE_MAX } from "../../src/bounds.ts";
import type { ApiKey, Tenant } from "../../src/catalogue.ts";
import { tenantBudget } from "../../src/durable/stub.ts";
import { TenantBudget } from "../../src/durable/tenant-budget.ts";
import type { Env } from "../../src/env.ts";
import { readKey } from "../../src/keys.ts";
import type { TenantUsage } from "../../src/limits/messages.ts";
import { secretsOf } from "../../src/secrets.ts";
import { ask, call, ifMatch } from "./admin-client.ts";
import { ADMIN_KEY } from "./config.ts";

const env = bindings as unknown as Env;

interface Page<T> {
  readonly data: readonly T[];
  readonly nextCursor: string | null;
}
type NewKey = ApiKey & { readonly key: string };

async function newTenant(id: string, more: object = {}): Promise<Tenant> {
  const answer = await ask<Tenant>("POST", "/tenants", { body: { id, name: `Tenant ${id}`, ...more } });
  if (answer.status !== 201) throw new Error(answer.text);
  return answer.json;
}

async function newKey(tenantId: string, body: object = {}): Promise<NewKey> {
  const answer = await ask<NewKey>("POST", `/tenants/${tenantId}/keys`, { body });
  if (answer.status !== 201) throw new Error(answer.text);
  return answer.json;
}

/** What the tenant's budget object says of a key: what a request with it would meet. */
async function checkKey(tenant: Tenant, text: string) {
  const claims = await readKey(text, (await secretsOf(env)).macKeys);
  const address = { tenantRef: tenant.ref, homeHint: tenant.homeHint, generation: 0, at: tenant.homeHint };
  return tenantBudget(env, address).check(claims!.keyId, claims!.secretHash);
}

afterEach(() => {
  vi.restoreAllMocks();
});

describe("who may ask", () => {
  test("without the admin key every path under /admin is closed, also one that does not exist", async ({
    expect,
  }) => {
    const tenant = await newTenant("locked-out");
    const { key } = await newKey(tenant.id);
    const paths = ["", "/", "/v1", "/v1/tenants", "/v1/openapi.json", "/v1/nothing", "/v2/x", "/v1//tenants"];
    for (const path of paths) {
      for (const wrong of [null, "", "wrong", key, `${ADMIN_KEY}x`, ADMIN_KEY.slice(0, -1)]) {
        const answer = await call("GET", `/admin${path}`, { key: wrong });
        expect([path, wrong, answer.status, answer.json.error.code]).toEqual([
          path,
          wrong,
          401,
          "admin_key_required",
        ]);
      }
    }
    const other = await ask("GET", "/tenants", { key: null, headers: { "x-api-key": ADMIN_KEY } });
    expect(other.status).toBe(401);
  });

  test("no answer may be stored, and each names its request", async ({ expect }) => {
    for (const answer of [await ask("GET", "/tenants"), await ask("GET", "/tenants", { key: "wrong" })]) {
      expect(answer.headers.get("cache-control")).toBe("no-store");
      expect(answer.headers.get("x-request-id")).toMatch(/^[0-9a-f-]{36}$/);
      expect(answer.headers.get("content-type")).toBe("application/json");
    }
  });
});

describe("tenants", () => {
  test("create, read, change, delete", async ({ expect }) => {
    const limits = { tokensPerMinute: 5_000, concurrentRequests: 3 };
    const created = await ask<Tenant>("POST", "/tenants", {
      body: { id: "acme", name: "Acme", limits, models: ["m"], homeHint: "weur" },
    });
    expect(created.status).toBe(201);
    expect(created.json).toMatchObject({
      id: "acme",
      limits,
      models: ["m"],
      overdraft: "debt",
      suspended: false,
    });
    expect(created.headers.get("etag")).toBe(`"${created.json.version}"`);
    expect(created.headers.get("x-meridian-in-force")).toBe("true");
    const read = await ask<Tenant>("GET", "/tenants/acme");
    expect(read.json).toEqual(created.json);

    const changed = await ask<Tenant>("PATCH", "/tenants/acme", {
      body: { limits: { tokensPerDay: 9 }, models: null },
      headers: ifMatch(read.json.version),
    });
    expect(changed.status).toBe(200);
    expect(changed.json).toMatchObject({ name: "Acme", limits: { tokensPerDay: 9 }, homeHint: "weur" });
    expect(changed.json.models).toBeUndefined();
    expect(changed.json.version).toBeGreaterThan(read.json.version);
    expect(changed.headers.get("etag")).toBe(`"${changed.json.version}"`);

    expect((await ask("DELETE", "/tenants/acme", { headers: ifMatch(read.json.version) })).status).toBe(412);
    const gone = await ask("DELETE", "/tenants/acme", { headers: ifMatch(changed.json.version) });
    expect([gone.status, gone.text]).toEqual([204, ""]);
    expect((await ask("GET", "/tenants/acme")).status).toBe(404);
    expect((await ask("DELETE", "/tenants/acme")).status).toBe(404);
  });

  test("a change needs the version that was read", async ({ expect }) => {
    const { version } = await newTenant("versioned");
    const body = { name: "New" };
    const without = await ask("PATCH", "/tenants/versioned", { body });
    expect([without.status, without.json.error.code]).toEqual([428, "version_required"]);
    const stale = await ask("PATCH", "/tenants/versioned", { body, headers: ifMatch(version + 1) });
    expect([stale.status, stale.json.error.code]).toEqual([412, "version_mismatch"]);
    expect(stale.json.error.message).toContain(`"${version}"`);
    for (const text of ["*", `W/"${version}"`, `${version}`, `"${version}", "1"`]) {
      const odd = await ask("PATCH", "/tenants/versioned", { body, headers: { "if-match": text } });
      expect([odd.status, odd.json.error.param]).toEqual([400, "if-match"]);
    }
    expect((await ask<Tenant>("GET", "/tenants/versioned")).json.name).toBe("Tenant versioned");
  });

  test("of two changes to the same version, one wins", async ({ expect }) => {
    const { version } = await newTenant("raced");
    const change = (name: string) =>
      ask("PATCH", "/tenants/raced", { body: { name }, headers: ifMatch(version) });
    const answers = await Promise.all([change("one"), change("other")]);
    expect(answers.map((answer) => answer.status).sort()).toEqual([200, 412]);
  });

  test("a change that changes nothing keeps the version and is not audited", async ({ expect }) => {
    const { version } = await newTenant("still");
    const headers = ifMatch(version);
    const same = await ask<Tenant>("PATCH", "/tenants/still", { body: { suspended: false }, headers });
    expect([same.status, same.json.version]).toEqual([200, version]);
    const audit = await ask<Page<{ target: string }>>("GET", "/audit");
    expect(audit.json.data.filter((entry) => entry.target === "tenants/still")).toHaveLength(1);
  });

  test("an id is taken once", async ({ expect }) => {
    await newTenant("unique");
    const again = await ask("POST", "/tenants", { body: { id: "unique", name: "x" } });
    expect([again.status, again.json.error.code]).toEqual([409, "already_exists"]);
  });

  test("lists come in pages that miss nothing and repeat nothing", async ({ expect }) => {
    const ids = ["page-a", "page-b", "page-c", "page-d", "page-e"];
    for (const id of ids) await newTenant(id);
    const seen: string[] = [];
    let cursor: string | null = null;
    do {
      const query: string = cursor === null ? "" : `&cursor=${encodeURIComponent(cursor)}`;
      const page = await ask<Page<Tenant>>("GET", `/tenants?limit=2${query}`);
      expect(page.json.data.length).toBeLessThanOrEqual(2);
      seen.push(...page.json.data.map((tenant) => tenant.id));
      cursor = page.json.nextCursor;
    } while (cursor !== null);
    expect(seen.filter((id) => id.startsWith("page-"))).toEqual(ids);
    expect(new Set(seen).size).toBe(seen.length);
    for (const query of [`limit=${PAGE_MAX + 1}`, "limit=0", "limit=x", "limit=1&limit=2", "offset=1"]) {
      expect([query, (await ask("GET", `/tenants?${query}`)).status]).toEqual([query, 400]);
    }
  });

  test("usage is what the tenant's budget object says", async ({ expect }) => {
    const tenant = await newTenant("metered");
    const empty = await ask<TenantUsage>("GET", "/tenants/metered/usage");
    expect(empty.status).toBe(200);
    expect(empty.json).toMatchObject({ tenantId: tenant.id, totals: { requests: 0 }, byKey: [] });
    expect((await ask("GET", "/tenants/nobody/usage")).status).toBe(404);

    vi.spyOn(console, "error").mockImplementation(() => undefined);
    vi.spyOn(TenantBudget.prototype, "usage").mockRejectedValue(new Error("broken"));
    const broken = await ask("GET", "/tenants/metered/usage");
    expect([broken.status, broken.headers.get("retry-after")]).toEqual([503, "1"]);
    expect(broken.text).not.toContain("broken");
  });
});

describe("keys", () => {
  test("a key is shown once, works at once, and dies with its revocation", async ({ expect }) => {
    const tenant = await newTenant("keyed");
    const limits = { requestsPerMinute: 7 };
    const created = await ask<NewKey>("POST", "/tenants/keyed/keys", { body: { name: "ci", limits } });
    expect(created.status).toBe(201);
    expect(created.json).toMatchObject({ name: "ci", limits, tenantId: "keyed", revokedAtMs: null });
    expect(created.json.key).toMatch(/^mrd_/);
    expect(await checkKey(tenant, created.json.key)).toMatchObject({ ok: true });

    const list = await ask<Page<ApiKey>>("GET", "/tenants/keyed/keys?limit=1");
    const { key: _, ...shown } = created.json;
    expect(list.json).toEqual({ data: [shown], nextCursor: null });

    const path = `/tenants/keyed/keys/${created.json.id}`;
    for (let times = 0; times < 2; times++) expect((await ask("DELETE", path)).status).toBe(204);
    expect(await checkKey(tenant, created.json.key)).toMatchObject({ failure: { tag: "revoked_key" } });
    expect((await ask("DELETE", "/tenants/keyed/keys/nothing")).status).toBe(404);
    expect((await ask("POST", "/tenants/nobody/keys", { body: {} })).status).toBe(404);
    expect((await ask("GET", "/tenants/nobody/keys")).status).toBe(404);
  });

  test("a key of one tenant cannot be reached through another", async ({ expect }) => {
    await newTenant("owner");
    await newTenant("stranger");
    const { id } = await newKey("owner");
    expect((await ask("DELETE", `/tenants/stranger/keys/${id}`)).status).toBe(404);
    expect((await ask("POST", `/tenants/stranger/keys/${id}/rotate`)).status).toBe(404);
  });

  test("a rotated key works on for the overlap, the new one at once", async ({ expect }) => {
    const tenant = await newTenant("rotated");
    const old = await newKey("rotated", { name: "prod", limits: { tokensPerDay: 10 } });
    const beforeMs = Date.now();
    const renewed = await ask<NewKey>("POST", `/tenants/rotated/keys/${old.id}/rotate`);
    expect(renewed.status).toBe(201);
    expect(renewed.json).toMatchObject({ name: "prod", limits: { tokensPerDay: 10 } });
    expect(await checkKey(tenant, old.key)).toMatchObject({ ok: true });
    expect(await checkKey(tenant, renewed.json.key)).toMatchObject({ ok: true });
    const list = await ask<Page<ApiKey>>("GET", "/tenants/rotated/keys");
    const replaced = list.json.data.find((key) => key.id === old.id)!;
    expect(replaced.replacedBy).toBe(renewed.json.id);
    expect(replaced.expiresAtMs! - DAY_MS).toBeGreaterThanOrEqual(beforeMs);

    const again = await ask("POST", `/tenants/rotated/keys/${old.id}/rotate`);
    expect([again.status, again.json.error.message]).toEqual([409, expect.stringContaining(renewed.json.id)]);

    const body = { overlapMs: 0 };
    const last = await ask<NewKey>("POST", `/tenants/rotated/keys/${renewed.json.id}/rotate`, { body });
    expect(last.status).toBe(201);
    expect(await checkKey(tenant, renewed.json.key)).toMatchObject({ failure: { tag: "revoked_key" } });
    expect(await checkKey(tenant, last.json.key)).toMatchObject({ ok: true });
  });

  test("a key that ended cannot be rotated, nor one be created that ended already", async ({ expect }) => {
    await newTenant("ended");
    const { id } = await newKey("ended");
    await ask("DELETE", `/tenants/ended/keys/${id}`);
    expect((await ask("POST", `/tenants/ended/keys/${id}/rotate`)).status).toBe(409);
    const past = await ask("POST", "/tenants/ended/keys", { body: { expiresAtMs: 1 } });
    expect([past.status, past.json.error.param]).toEqual([400, "expiresAtMs"]);
  });

  test("suspension and deletion of a tenant stop its keys", async ({ expect }) => {
    const tenant = await newTenant("stopped");
    const { key } = await newKey("stopped");
    const { version } = (await ask<Tenant>("GET", "/tenants/stopped")).json;
    await ask("PATCH", "/tenants/stopped", { body: { suspended: true }, headers: ifMatch(version) });
    expect(await checkKey(tenant, key)).toMatchObject({ ok: false, failure: { tag: "tenant_suspended" } });
    await ask("DELETE", "/tenants/stopped");
    expect(await checkKey(tenant, key)).toMatchObject({ ok: false });
    await newTenant("stopped");
    expect(await checkKey(tenant, key)).toMatchObject({ ok: false, failure: { tag: "invalid_key" } });
  });

  test("where the budget object cannot be told, the answer says so", async ({ expect }) => {
    await newTenant("unreached");
    vi.spyOn(console, "error").mockImplementation(() => undefined);
    vi.spyOn(TenantBudget.prototype, "configure").mockRejectedValue(new Error("out of reach"));
    const created = await ask<NewKey>("POST", "/tenants/unreached/keys", { body: {} });
    expect([created.status, created.headers.get("x-meridian-in-force")]).toEqual([201, "false"]);
  });
});
