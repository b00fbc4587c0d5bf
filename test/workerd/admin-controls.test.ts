import { beforeAll, describe, test } from "vitest";
import type { Approval, Override } from "../../src/durable/registry/messages.ts";
import { ask, ifMatch } from "./admin-client.ts";
import { BOBS_KEY } from "./config.ts";

// The first call loads the Worker, which takes longer than a test may on a busy machine.
beforeAll(() => ask("GET", "/models"), 30_000);

interface Ladder {
  readonly steps: { readonly step: string; readonly stance: string; readonly override: Override | null }[];
}

async function withModels(name: string): Promise<void> {
  await ask("POST", "/models", { body: { id: `${name}-small` } });
  const degrade = { smallerModel: `${name}-small`, needsApproval: ["model"] };
  await ask("POST", "/models", { body: { id: name, degrade } });
}

const stances = async (name: string) => {
  const { json } = await ask<Ladder>("GET", `/models/${name}/degrade`);
  return Object.fromEntries(json.steps.map(({ step, stance }) => [step, stance]));
};

describe("steps by hand", () => {
  test("what is forced needs another admin where the step needs approval", async ({ expect }) => {
    await withModels("hand");
    expect(await stances("hand")).toEqual({
      ...{ cache: "allowed", region: "allowed", model: "awaits" },
      ...{ "max-tokens": "allowed", refuse: "allowed" },
    });
    const body = { mode: "force", reason: "maintenance" };
    const put = (step: string, key?: string) =>
      ask<Approval>("PUT", `/models/hand/degrade/${step}`, { body, ...(key === undefined ? {} : { key }) });
    expect(await put("refuse", BOBS_KEY)).toMatchObject({ status: 200, json: { by: "bob", untilMs: null } });
    const asked = await put("model", BOBS_KEY);
    expect(asked).toMatchObject({
      status: 202,
      json: { state: "proposed", mode: "force", proposedBy: "bob" },
    });
    const approve = (key?: string) =>
      ask("POST", `/approvals/${asked.json.id}/approve`, key === undefined ? {} : { key });
    const own = await approve(BOBS_KEY);
    expect([own.status, own.json.error.code]).toEqual([409, "conflict"]);
    expect((await stances("hand")).model).toBe("awaits");
    expect((await approve()).status).toBe(200);
    expect(await stances("hand")).toMatchObject({ model: "forced", refuse: "forced" });
    expect((await ask("DELETE", "/models/hand/degrade/refuse")).status).toBe(204);
    expect((await ask("DELETE", "/models/hand/degrade/refuse")).status).toBe(404);
    expect((await stances("hand")).refuse).toBe("allowed");
  });

  test("an override ends, and says when", async ({ expect }) => {
    await withModels("ends");
    const body = { mode: "forbid", reason: "data review", expiresInMs: 60_000 };
    const { json } = await ask<Override>("PUT", "/models/ends/degrade/region", { body });
    expect(json.untilMs! - json.atMs).toBeGreaterThan(50_000);
    expect((await stances("ends")).region).toBe("forbidden");
  });

  test("bad input names the field", async ({ expect }) => {
    await withModels("bad");
    const cases: [method: string, path: string, body: object, status: number, param: string | null][] = [
      ["PUT", "/models/bad/degrade/region", { mode: "force" }, 400, "reason"],
      ["PUT", "/models/bad/degrade/nothing", { mode: "force", reason: "x" }, 400, "step"],
      ["PUT", "/models/none/degrade/region", { mode: "force", reason: "x" }, 404, null],
      ["POST", "/approvals", { model: "bad", step: "model" }, 400, "reason"],
      ["POST", "/approvals", { model: "bad", step: "cache", reason: "x" }, 409, null],
      ["POST", "/approvals/apr_1/approve", { forMs: 1 }, 400, "forMs"],
      ["POST", "/models", { id: "new", cache: {} }, 400, "cache.ttlSeconds"],
      ["POST", "/models", { id: "new", degrade: { smallerModel: "new" } }, 400, "degrade.smallerModel"],
    ];
    for (const [method, path, body, status, param] of cases) {
      const answer = await ask(method, path, { body });
      expect([path, answer.status, answer.json.error.param]).toEqual([path, status, param]);
    }
  });
});

test("policies are replaced as a whole and taken back", async ({ expect }) => {
  await withModels("policy");
  interface Shown {
    readonly version: number;
    readonly cache?: object;
    readonly degrade?: object;
  }
  const { json } = await ask<Shown>("GET", "/models/policy");
  const change = { cache: { ttlSeconds: 5 }, degrade: null };
  const changed = await ask<Shown>("PATCH", "/models/policy", {
    body: change,
    headers: ifMatch(json.version),
  });
  expect(changed.json.cache).toEqual({
    ...{ ttlSeconds: 5, staleIfErrorSeconds: 0, maxBytes: 131_072, sampled: false },
  });
  expect(changed.json.degrade).toBeUndefined();
});
