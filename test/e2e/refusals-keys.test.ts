import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import Anthropic from "@anthropic-ai/sdk";
import OpenAI from "openai";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { gateSecret, loadSecrets, type StackSecrets } from "../../sim/stack/secrets.ts";
import { base62, mac, macKey, randomBase62 } from "../../src/contract/encoding.ts";
import { mintKey, tenantRefOf } from "../../src/keys.ts";
import { settledUsage } from "../support/books.ts";
import { expectNoTrace, expectRefusal, expectUntouched, type Refusal } from "../support/refusals.ts";
import { eventually, type TestStack, testStack } from "../support/stack.ts";

/** Who asks: each credential that is not a good key of this deployment is told so, and opens nothing. */
const CHAT = "/v1/chat/completions";
const CANARY = "canary-prompt-2c77";
const MESSAGES = [{ role: "user" as const, content: `${CANARY} [len=4]` }];
const BODY = { model: "sim-chat", max_tokens: 5, messages: MESSAGES };

let stack: TestStack;
let secrets: StackSecrets;
/** Keys of one tenant, by what became of them. */
const keys = { good: "", revoked: "", rotatedAway: "", suspended: "", deleted: "", narrow: "" };

beforeAll(async () => {
  stack = await testStack({ simArgs: ["--speed", "10"] });
  secrets = loadSecrets(stack.stateDir);
  keys.good = await stack.tenant("acme", { tokensPerMinute: 100_000 });
  const [revoked, rotated] = [await newKey("acme"), await newKey("acme")];
  await stack.admin.must(204, "DELETE", `tenants/acme/keys/${revoked.id}`);
  await stack.admin.must(201, "POST", `tenants/acme/keys/${rotated.id}/rotate`, { overlapMs: 0 });
  [keys.revoked, keys.rotatedAway] = [revoked.key, rotated.key];
  keys.suspended = await stack.tenant("late-payer", {}, { suspended: true });
  keys.narrow = await stack.tenant("narrow", {}, { models: ["sim-embed"] });
  keys.deleted = await stack.tenant("gone", {});
  await stack.admin.must(204, "DELETE", "tenants/gone");
});
afterAll(() => stack?.end());

async function newKey(tenant: string): Promise<{ id: string; key: string }> {
  return (await stack.admin.must(201, "POST", `tenants/${tenant}/keys`, {})) as { id: string; key: string };
}

/** A key that only who has the deployment's secret could make: the fields of a good one, but for what is given. */
async function madeOf(change: { tenantRef?: string; keyId?: string; secret?: string }, by = secrets.keyMac) {
  const fields = /^mrd_(.{11})(.{10})(.)(.{24})(.)/.exec(keys.good)!.slice(1);
  const [tenantRef = "", keyId = "", hint = "", secret = "", version = ""] = fields;
  const made = { tenantRef, keyId, secret, ...change };
  const signed = `${made.tenantRef}${made.keyId}${hint}${made.secret}${version}`;
  return `mrd_${signed}${base62(await mac(await macKey(by), signed), 16)}`;
}

const missing: Refusal = { status: 401, code: "missing_api_key", type: "authentication_error" };
const invalid: Refusal = { status: 401, code: "invalid_api_key", type: "authentication_error" };
const otherDeployment = "the secret of another deployment";

const CREDENTIALS: readonly (readonly [
  name: string,
  key: () => string | Promise<string>,
  refusal: Refusal,
])[] = [
  ["an empty one", () => "", missing],
  ["two words", () => `${keys.good} ${keys.good}`, missing],
  ["another router's", () => "sk-proj-0123456789", invalid],
  ["a short one", () => keys.good.slice(0, -1), invalid],
  ["a long one", () => `${keys.good}0`, invalid],
  ["a very long one", () => `mrd_${"0".repeat(7_000)}`, invalid],
  ["a good one without its prefix", () => keys.good.slice(4), invalid],
  ["the admin's", () => stack.info.adminKey, invalid],
  ["a pool's secret", () => gateSecret(secrets, "us-east", 1), invalid],
  ["another deployment's, of the same tenant", () => madeOf({}, otherDeployment), invalid],
  ["another deployment's own", async () => (await foreignKey()).text, invalid],
  [
    "signed well, of a tenant that is none",
    async () => madeOf({ tenantRef: await tenantRefOf("nobody") }),
    invalid,
  ],
  ["signed well, with an id that is none", () => madeOf({ keyId: randomBase62(10) }), invalid],
  ["signed well, with another secret", () => madeOf({ secret: randomBase62(24) }), invalid],
  ["a revoked one", () => keys.revoked, invalid],
  ["one that a rotation ended", () => keys.rotatedAway, invalid],
  ["a deleted tenant's", () => keys.deleted, invalid],
  [
    "a suspended tenant's",
    () => keys.suspended,
    { status: 403, code: "tenant_suspended", type: "permission_error" },
  ],
];

async function foreignKey() {
  return mintKey(await tenantRefOf("acme"), "enam", "1", await macKey(otherDeployment));
}

/** As a bearer token, and as Anthropic's clients send it. */
async function refused(key: string, refusal: Refusal): Promise<void> {
  const bearer = { authorization: `Bearer ${key}` };
  const answers = [
    [CHAT, await stack.post(CHAT, BODY, bearer)],
    ["/v1/messages", await stack.post("/v1/messages", BODY, { authorization: "", "x-api-key": key })],
    ["/v1/models", await fetch(`${stack.info.baseUrl}/v1/models`, { headers: bearer })],
  ] as const;
  for (const [path, response] of answers) {
    const text = await expectRefusal(response, path, refusal);
    if (key !== "") expect(text).not.toContain(key);
    expect(text).not.toContain(CANARY);
  }
}

describe("a key that is", () => {
  // A change takes at most 10 s to be in force everywhere; here it is at the next call.
  it.each(CREDENTIALS)("%s is refused", async (_name, key, refusal) => refused(await key(), refusal));

  it("none at all", async () => {
    await expectRefusal(await fetch(`${stack.info.baseUrl}/v1/models`), "/v1/models", missing);
    await expectRefusal(await stack.post(CHAT, BODY, { authorization: "Basic YTpi" }), CHAT, missing);
  });

  it("a good one with one character changed anywhere", async () => {
    const answers = await Promise.all(
      [...keys.good].map(async (char, at) => {
        const changed = `${keys.good.slice(0, at)}${char === "0" ? "1" : "0"}${keys.good.slice(at + 1)}`;
        const response = await stack.post(CHAT, BODY, { authorization: `Bearer ${changed}` });
        return expectRefusal(response, CHAT, invalid);
      }),
    );
    expect(answers).toHaveLength(67);
  });

  it("untouched still opens what the others did not", async () => {
    const tenants = ["acme", "late-payer", "narrow"];
    for (const tenant of tenants) await expectUntouched(stack, tenant);
    const response = await stack.post(CHAT, BODY, { authorization: `Bearer ${keys.good}` });
    expect([response.status, await response.text()]).toEqual([
      200,
      expect.stringContaining('"completion_tokens":5'),
    ]);
    expect((await settledUsage(stack, "acme")).totals).toMatchObject({ requests: 1, outputTokens: 5 });
  });
});

it("SDKs throw what they throw for OpenAI and Anthropic", async () => {
  const ask = (key: string) =>
    stack
      .openai({ key })
      .chat.completions.create(BODY)
      .catch((error: unknown) => error);
  expect(await ask(keys.revoked)).toBeInstanceOf(OpenAI.AuthenticationError);
  expect(await ask(keys.suspended)).toBeInstanceOf(OpenAI.PermissionDeniedError);
  expect(await ask(keys.narrow)).toBeInstanceOf(OpenAI.NotFoundError);
  const anthropic = new Anthropic({ baseURL: stack.info.baseUrl, apiKey: keys.revoked, maxRetries: 0 });
  const refusal = await anthropic.messages.create(BODY).catch((error: unknown) => error);
  expect(refusal).toBeInstanceOf(Anthropic.AuthenticationError);
});

it("a model that is not in the tenant's list does not exist for it", async () => {
  const client = stack.openai({ key: keys.narrow });
  expect((await client.models.list()).data.map(({ id }) => id)).toEqual(["sim-embed"]);
  const bearer = { authorization: `Bearer ${keys.narrow}` };
  const refusal: Refusal = { status: 404, code: "model_not_found", param: "model" };
  for (const path of [CHAT, "/v1/messages"]) {
    const text = await expectRefusal(await stack.post(path, BODY, bearer), path, refusal);
    const nameless = await expectRefusal(
      await stack.post(path, { ...BODY, model: "no-chat" }, bearer),
      path,
      refusal,
    );
    expect(text).toBe(nameless.replace("no-chat", "sim-chat"));
  }
  await expectUntouched(stack, "narrow");
  expect((await client.embeddings.create({ model: "sim-embed", input: CANARY })).data).toHaveLength(1);
});

it("a revoked key that worked a moment ago stops to", async () => {
  const { id, key } = await newKey("acme");
  const status = async () =>
    (await stack.post("/v1/tokenize", { model: "sim-chat", prompt: "x" }, { authorization: `Bearer ${key}` }))
      .status;
  expect(await status()).toBe(200);
  await stack.admin.must(204, "DELETE", `tenants/acme/keys/${id}`);
  expect(await eventually(status, (now) => now === 401, 10_000)).toBe(401);
});

it("a tenant's key opens nothing of the administration", async () => {
  const refusal: Refusal = { status: 401, code: "admin_key_required", type: "authentication_error" };
  const version = async () => (await stack.admin.call("GET", "tenants/acme")).version;
  const before = await version();
  for (const [method, path, body] of [
    ["GET", "/admin/v1/tenants", null],
    ["POST", "/admin/v1/tenants", { id: "mine", name: "Mine" }],
    ["PATCH", "/admin/v1/tenants/acme", { limits: {} }],
    ["POST", "/admin/v1/tenants/acme/keys", {}],
    ["DELETE", "/admin/v1/tenants/acme", null],
    ["GET", "/admin/v1/audit", null],
    ["GET", "/admin/v1/openapi.json", null],
    ["GET", "/metrics", null],
  ] as const) {
    for (const credential of [
      { authorization: `Bearer ${keys.good}` },
      { "x-api-key": stack.info.adminKey },
    ]) {
      const headers = { "content-type": "application/json", "if-match": before ?? "", ...credential };
      const init = body === null ? { method, headers } : { method, headers, body: JSON.stringify(body) };
      await expectRefusal(await fetch(`${stack.info.baseUrl}${path}`, init as RequestInit), path, refusal);
    }
  }
  expect((await stack.admin.call("GET", "tenants/mine")).status).toBe(404);
  expect(await version()).toBe(before);
});

it("no key, prompt or secret is in a log, a metric, the audit log or a stored object", async () => {
  await stack.openai({ key: keys.good }).chat.completions.create({ ...BODY, user: `${CANARY}-user` });
  await settledUsage(stack, "acme");
  const pools = await Promise.all(["us-east", "eu-west"].map((pool) => gateSecret(secrets, pool, 1)));
  const texts = [CANARY, ...Object.values(keys), stack.info.tenant.key, ...Object.values(secrets), ...pools];
  await expectNoTrace(stack, texts);
  const objects = join(stack.stateDir, "objects");
  const files = readdirSync(objects, { recursive: true, withFileTypes: true }).filter((entry) =>
    entry.isFile(),
  );
  expect(files.length).toBeGreaterThan(4);
  for (const { parentPath, name } of files) {
    const content = readFileSync(join(parentPath, name), "latin1");
    expect([name, texts.filter((text) => content.includes(text))]).toEqual([name, []]);
  }
});
