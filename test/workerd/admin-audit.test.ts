import { runInDurableObject } from "cloudflare:test";
import { env as bindings } from "cloudflare:workers";
import { describe, test } from "vitest";
import type { Tenant } from "../../src/catalogue.ts";
import { sha256, toBase64Url } from "../../src/contract/encoding.ts";
import { registry } from "../../src/durable/stub.ts";
import type { Env } from "../../src/env.ts";
import { ask, ifMatch } from "./admin-client.ts";
import { ADMIN_KEY } from "./config.ts";

const env = bindings as unknown as Env;

interface Entry {
  readonly id: number;
  readonly actor: string;
  readonly requestId: string;
  readonly action: string;
  readonly target: string;
  readonly before: Record<string, unknown> | null;
  readonly after: Record<string, unknown> | null;
}
interface Page {
  readonly data: readonly Entry[];
  readonly nextCursor: string | null;
}
interface Shown {
  readonly id: string;
  readonly key: string;
  readonly gateSecret: string;
}

/** One of each change that there is. Returns every secret that an answer showed on the way. */
async function changeEverything(): Promise<string[]> {
  const secrets: string[] = [];
  await ask("POST", "/models", { body: { id: "m" } });
  await ask("PATCH", "/models/m", { body: { contextTokens: 5 }, headers: ifMatch(1) });
  const pool = await ask<Shown>("POST", "/pools", {
    body: {
      id: "p",
      region: "r",
      position: { latitude: 0, longitude: 0 },
      hint: "oc",
      gates: ["https://g.example"],
      models: [{ model: "m" }],
    },
  });
  await ask("PATCH", "/pools/p", { body: { drained: true }, headers: ifMatch(3) });
  const rotatedPool = await ask<Shown>("POST", "/pools/p/rotate-secret");
  await ask("POST", "/pools/p/end-rotation");
  secrets.push(pool.json.gateSecret, rotatedPool.json.gateSecret);

  await ask("POST", "/tenants", { body: { id: "t", name: "T" } });
  const key = await ask<Shown>("POST", "/tenants/t/keys", { body: {} });
  const rotated = await ask<Shown>("POST", `/tenants/t/keys/${key.json.id}/rotate`);
  await ask("DELETE", `/tenants/t/keys/${key.json.id}`);
  for (const { text } of [key, rotated].map(({ json }) => ({ text: json.key }))) {
    // The whole key, and the field of it that is the secret (src/keys.ts): 24 digits before version and MAC.
    secrets.push(text, text.slice(-41, -17));
  }
  const { version } = (await ask<Tenant>("GET", "/tenants/t")).json;
  await ask("PATCH", "/tenants/t", { body: { name: "New" }, headers: ifMatch(version) });
  return secrets;
}

async function removeEverything(): Promise<void> {
  for (const path of ["/tenants/t", "/pools/p", "/models/m"]) await ask("DELETE", path);
}

async function wholeAudit(): Promise<Entry[]> {
  const entries: Entry[] = [];
  let cursor: string | null = null;
  do {
    const query: string = cursor === null ? "" : `&cursor=${cursor}`;
    const page = await ask<Page>("GET", `/audit?limit=3${query}`);
    entries.push(...page.json.data);
    cursor = page.json.nextCursor;
  } while (cursor !== null);
  return entries;
}

describe("audit", () => {
  test("tells every change, newest first, and no secret is stored or shown again", async ({ expect }) => {
    const secrets = await changeEverything();
    const reads = ["/tenants", "/tenants/t", "/tenants/t/keys", "/tenants/t/usage", "/models", "/models/m"];
    reads.push("/pools", "/pools/p", "/breakers", "/audit?limit=200", "/openapi.json");
    const shown: string[] = [];
    for (const path of reads) {
      const answer = await ask("GET", path);
      expect([path, answer.status]).toEqual([path, 200]);
      shown.push(answer.text);
    }
    const stored = await runInDurableObject(registry(env) as DurableObjectStub, (_, { storage }) => {
      const tables = ["tenants", "keys", "models", "pools", "audit", "outbox", "replies"];
      return tables.map((table) => JSON.stringify(storage.sql.exec(`SELECT * FROM ${table}`).toArray()));
    });
    expect(secrets).toHaveLength(6);
    for (const text of [...shown, ...stored]) {
      for (const secret of secrets) {
        expect(secret.length).toBeGreaterThan(20);
        expect(text).not.toContain(secret);
      }
    }

    await removeEverything();
    const entries = await wholeAudit();
    expect(entries.map(({ action, target }) => `${action} ${target.replace(/keys\/.*/, "keys/…")}`)).toEqual([
      "model.delete models/m",
      "pool.delete pools/p",
      "tenant.delete tenants/t",
      "tenant.update tenants/t",
      "key.revoke tenants/t/keys/…",
      "key.create tenants/t/keys/…",
      "key.rotate tenants/t/keys/…",
      "key.create tenants/t/keys/…",
      "tenant.create tenants/t",
      "pool.end-rotation pools/p",
      "pool.rotate-secret pools/p",
      "pool.update pools/p",
      "pool.create pools/p",
      "model.update models/m",
      "model.create models/m",
    ]);
    const actor = toBase64Url(await sha256(ADMIN_KEY)).slice(0, 8);
    expect(new Set(entries.map((entry) => entry.actor))).toEqual(new Set([actor]));
    const update = entries.find((entry) => entry.action === "tenant.update")!;
    expect([update.before!.name, update.after!.name]).toEqual(["T", "New"]);
    expect(entries.find((entry) => entry.action === "model.delete")!.after).toBeNull();
    expect(entries.map((entry) => entry.id)).toEqual(entries.map((_, index) => entries[0]!.id - index));
  });

  test("an entry names the call that made it", async ({ expect }) => {
    const created = await ask("POST", "/models", { body: { id: "traced" } });
    const newest = (await ask<Page>("GET", "/audit?limit=1")).json.data[0]!;
    expect(newest.requestId).toBe(created.headers.get("x-request-id"));
  });

  test("what was refused leaves no entry", async ({ expect }) => {
    const before = (await ask<Page>("GET", "/audit?limit=1")).json.data[0]!.id;
    await ask("POST", "/models", { body: { id: "traced" } });
    await ask("POST", "/models", { body: { id: "x", nonsense: 1 } });
    await ask("DELETE", "/tenants/nobody");
    await ask("POST", "/models", { body: { id: "y" }, key: "wrong" });
    expect((await ask<Page>("GET", "/audit?limit=1")).json.data[0]!.id).toBe(before);
  });

  test("its cursors are numbers", async ({ expect }) => {
    expect((await ask("GET", "/audit?cursor=abc")).status).toBe(400);
    expect((await ask<Page>("GET", "/audit?cursor=1")).json.data).toEqual([]);
  });
});
