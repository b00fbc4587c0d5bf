import { abortAllDurableObjects } from "cloudflare:test";
import { afterEach, describe, test, vi } from "vitest";
import { Registry } from "../../src/durable/registry.ts";
import { type AdminError, ask, call } from "./admin-client.ts";

/** Who may learn which models there are, and what a location says that has never heard of any. */
afterEach(() => {
  vi.restoreAllMocks();
});

async function tenantWithKey(id: string, more: object = {}): Promise<{ id: string; key: string }> {
  const tenant = await ask("POST", "/tenants", { body: { id, name: id, ...more } });
  if (tenant.status !== 201) throw new Error(tenant.text);
  const made = await ask<{ id: string; key: string }>("POST", `/tenants/${id}/keys`, { body: {} });
  if (made.status !== 201) throw new Error(made.text);
  return made.json;
}

const chat = (key: string, model: string) =>
  call("POST", "/v1/chat/completions", { key, body: { model, messages: [{ role: "user", content: "hi" }] } });

describe("models", () => {
  test("a revoked key learns of none, neither that one exists nor that it does not", async ({ expect }) => {
    const models = [
      { id: "secret-embed", kind: "embed" },
      { id: "secret-chat", kind: "generate" },
    ];
    for (const model of models) expect((await ask("POST", "/models", { body: model })).status).toBe(201);
    const works = await tenantWithKey("working");
    const revoked = await tenantWithKey("revoked");
    expect((await ask("DELETE", `/tenants/revoked/keys/${revoked.id}`)).status).toBeLessThan(300);
    const told = async (key: string, model: string) => {
      const { json, status } = await chat(key, model);
      return [status, (json as AdminError).error.code];
    };
    await vi.waitFor(
      async () => expect(await told(works.key, "secret-embed")).toEqual([400, expect.anything()]),
      {
        timeout: 8_000,
        interval: 200,
      },
    );
    expect(await told(works.key, "no-such-model")).toEqual([404, "model_not_found"]);
    for (const model of ["no-such-model", "secret-embed", "secret-chat"]) {
      expect((await told(revoked.key, model))[0], model).toBe(401);
    }
  });

  test("a tenant is not told that a model exists which it may not use", async ({ expect }) => {
    const { key } = await tenantWithKey("limited", { models: ["another"] });
    const { json, status } = await chat(key, "secret-embed");
    expect([status, json.error.code]).toEqual([404, "model_not_found"]);
  });
});

describe("a directory that has never reached the registry", () => {
  test("is unavailable for now, and says when to come again", async ({ expect }) => {
    const { key } = await tenantWithKey("early");
    vi.spyOn(Registry.prototype, "catalogue").mockRejectedValue(new Error("out of reach"));
    await abortAllDurableObjects();
    const headers = { "x-meridian-dev-location": "OC/-33/151" };
    const body = { model: "m", messages: [{ role: "user", content: "hi" }] };
    const answer = await call("POST", "/v1/chat/completions", { key, body, headers });
    expect([answer.status, answer.headers.get("retry-after")]).toEqual([503, "2"]);
  });
});
