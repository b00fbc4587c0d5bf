import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type StackPlan, simulatedPlan } from "../../sim/stack/plan.ts";
import { settledUsage } from "../support/books.ts";
import {
  askAs,
  cacheOf,
  degradedOf,
  faultEverywhere,
  IN_FORCE_MS,
  LIMITS,
  SERVED,
} from "../support/degraded.ts";
import { eventually, type TestStack, testStack } from "../support/stack.ts";

const CACHE = { ttlSeconds: 3_600, staleIfErrorSeconds: 3_600 };

function plan(): StackPlan {
  const { regions } = simulatedPlan(1);
  return {
    models: [
      { id: "sim-chat", contextTokens: 32_768, cache: CACHE },
      { id: "sim-small", ...SERVED },
      { id: "sim-brief", ...SERVED, cache: { ...CACHE, ttlSeconds: 1 } },
      { id: "sim-busy", ...SERVED, degrade: { maxTokens: 7, waitMs: 100 } },
    ],
    regions: regions.slice(0, 2),
  };
}

let stack: TestStack;
let keys: Record<"keeps" | "other" | "plain", string>;

beforeAll(async () => {
  stack = await testStack({ plan: plan() });
  // Nobody serves these: what their requests get, they get by the ladder.
  const degrade = { smallerModel: "sim-small", waitMs: 0 };
  await stack.admin.must(201, "POST", "models", { id: "sim-big", degrade });
  const full = { id: "sim-full", ...SERVED, degrade: { ...degrade, maxTokens: 7, waitMs: 100 } };
  await stack.admin.must(201, "POST", "models", full);
  for (const pool of ["us-east", "eu-west"]) await serveOneAtATime(pool, "sim-full");
  const careful = { id: "sim-careful", degrade: { ...degrade, needsApproval: ["model"] } };
  await stack.admin.must(201, "POST", "models", careful);
  keys = {
    keeps: await stack.tenant("keeps", LIMITS, { responseCache: true }),
    other: await stack.tenant("other", LIMITS, { responseCache: true }),
    plain: await stack.tenant("plain", LIMITS),
  };
  // What was created after the start is in force within ten seconds.
  const known = async () => (await ask(keys.other, "sim-careful", "Anybody?")).status;
  expect(await eventually(known, (status) => status !== 404, IN_FORCE_MS)).toBe(503);
}, 120_000);
afterAll(() => stack?.end());

async function serveOneAtATime(pool: string, model: string): Promise<void> {
  const { body, version } = await stack.admin.call("GET", `pools/${pool}`);
  const { models } = body as { models: object[] };
  const change = { models: [...models, { model, concurrencyPerReplica: 1 }] };
  await stack.admin.call("PATCH", `pools/${pool}`, change, version ?? undefined);
}

const ask = (key: string, model: string, content: string, options?: Parameters<typeof askAs>[4]) =>
  askAs(stack, key, model, content, options);

describe("the response cache", () => {
  it("answers the same request again, at no tokens, and says what it saved", async () => {
    const first = await ask(keys.keeps, "sim-chat", "Of lighthouses. [len=30]");
    expect([first.status, cacheOf(first), degradedOf(first)]).toEqual([200, "miss", "none"]);
    const again = () => ask(keys.keeps, "sim-chat", "Of lighthouses. [len=30]");
    const second = await eventually(again, (got) => cacheOf(got) === "hit", 5_000);
    expect([second.status, cacheOf(second), degradedOf(second)]).toEqual([200, "hit", "none"]);
    expect(second.text).toBe(first.text);
    expect(second.headers.get("x-request-id")).not.toBe(first.headers.get("x-request-id"));
    const { usage } = JSON.parse(first.text) as { usage: Record<string, number> };
    const told = await settledUsage(stack, "keeps", ({ requests }) => requests >= 2);
    const { entries } = await stack.ledgers();
    const asked = told.totals.requests - told.saved.reduce((sum, { requests }) => sum + requests, 0);
    expect(entries).toHaveLength(asked);
    expect(told.totals).toMatchObject({
      promptTokens: usage.prompt_tokens! * asked,
      outputTokens: usage.completion_tokens! * asked,
    });
    expect(told.saved[0]!.outputTokens).toBe(usage.completion_tokens! * told.saved[0]!.requests);
    expect(told.saved[0]!.promptTokens).toBe(usage.prompt_tokens! * told.saved[0]!.requests);
  });

  it("is closed to other tenants, and to those that did not agree", async () => {
    const content = "Of the sea. [len=20]";
    const warm = () => ask(keys.keeps, "sim-chat", content);
    expect(cacheOf(await eventually(warm, (got) => cacheOf(got) === "hit", 5_000))).toBe("hit");
    expect(cacheOf(await ask(keys.other, "sim-chat", content))).toBe("miss");
    await ask(keys.plain, "sim-chat", content);
    const plain = await ask(keys.plain, "sim-chat", content);
    expect(cacheOf(plain)).toBe("none");
  });

  it("keeps whole streams and replays them byte for byte", async () => {
    const more = { stream: true, stream_options: { include_usage: true } };
    const stream = () => ask(keys.keeps, "sim-chat", "Of tides. [len=25]", { more });
    const first = await stream();
    expect(cacheOf(first)).toBe("miss");
    const second = await eventually(stream, (got) => cacheOf(got) === "hit", 5_000);
    expect([cacheOf(second), second.headers.get("content-type")]).toEqual(["hit", "text/event-stream"]);
    expect(second.text).toBe(first.text);
  });

  it("keeps none that was cut short, sampled, or not to be kept", async () => {
    const cases: [more: object, headers: Record<string, string>, state: string][] = [
      [{ max_tokens: 5 }, {}, "miss"],
      [{ temperature: 0.7 }, {}, "none"],
      [{}, { "cache-control": "no-store" }, "none"],
      [{}, { "cache-control": "no-cache" }, "miss"],
    ];
    for (const [more, headers, state] of cases) {
      for (const _ of [1, 2]) {
        const got = await ask(keys.keeps, "sim-chat", `Of ${JSON.stringify(more)} [len=20]`, {
          more,
          headers,
        });
        expect([more, headers, cacheOf(got)]).toEqual([more, headers, state]);
      }
    }
    const allow = { more: { temperature: 0.7 }, headers: { "x-meridian-cache": "allow" } };
    const allowed = () => ask(keys.keeps, "sim-chat", "Of chance. [len=20]", allow);
    expect(cacheOf(await eventually(allowed, (got) => cacheOf(got) === "hit", 5_000))).toBe("hit");
  });
});

describe("the ladder", () => {
  it("a smaller model answers where no region serves the one asked for, at its own name in the bill", async () => {
    const got = await ask(keys.plain, "sim-big", "Help. [len=12]");
    expect([got.status, degradedOf(got)]).toEqual([200, "model;from=sim-big;to=sim-small"]);
    const { usage } = JSON.parse(got.text) as { usage: { completion_tokens: number } };
    const outputTokens = usage.completion_tokens;
    const { byKey } = await settledUsage(stack, "plain", ({ requests }) => requests >= 3);
    expect(byKey.filter(({ model }) => model.startsWith("sim-big"))).toEqual([]);
    expect(byKey.find(({ model }) => model === "sim-small")).toMatchObject({ requests: 1, outputTokens });
  });

  it("a smaller model answers where every region is full", async () => {
    const more = { stream: true };
    const streams = [1, 2].map(() => ask(keys.other, "sim-full", "A long story. [len=600]", { more }));
    const got = await eventually(
      () => ask(keys.other, "sim-full", "A short one. [len=30]"),
      (one) => degradedOf(one)?.startsWith("model") ?? false,
      10_000,
    );
    expect([got.status, degradedOf(got)]).toEqual([200, "model;from=sim-full;to=sim-small"]);
    expect((await Promise.all(streams)).map(({ status }) => status)).toEqual([200, 200]);
  });

  it("not for a tenant that may not use it", async () => {
    const key = await stack.tenant("narrow", LIMITS, { models: ["sim-big"] });
    expect((await ask(key, "sim-big", "Help.")).status).toBe(503);
  });

  it("a model is switched off, and on again, by hand", async () => {
    const path = "models/sim-small/degrade/refuse";
    const answer = await stack.admin.call("PUT", path, { mode: "force", reason: "a test" });
    expect(answer).toMatchObject({ status: 200, body: { mode: "force", untilMs: null } });
    const status = async () => (await ask(keys.plain, "sim-small", "Help. [len=3]")).status;
    expect(await eventually(status, (now) => now === 503, IN_FORCE_MS)).toBe(503);
    await stack.admin.must(204, "DELETE", path);
    expect(await eventually(status, (now) => now === 200, IN_FORCE_MS)).toBe(200);
  });

  it("fewer tokens by hand; and not where it is forbidden", async () => {
    const path = "models/sim-busy/degrade/max-tokens";
    await stack.admin.call("PUT", path, { mode: "force", reason: "a test" });
    const shown = async () => {
      const got = await ask(keys.plain, "sim-busy", "Help. [len=40]");
      return [got.status, degradedOf(got), got.headers.get("x-meridian-max-tokens")];
    };
    expect(await eventually(shown, ([, degraded]) => degraded !== "none", IN_FORCE_MS)).toEqual([
      200,
      "max-tokens",
      "7",
    ]);
    await stack.admin.call("PUT", path, { mode: "forbid", reason: "a test" });
    expect(await eventually(shown, ([, degraded]) => degraded === "none", IN_FORCE_MS)).toEqual([
      200,
      "none",
      null,
    ]);
  });

  it("another region by hand", async () => {
    await stack.admin.call("PUT", "models/sim-busy/degrade/region", { mode: "force", reason: "a test" });
    const got = await eventually(
      () => ask(keys.plain, "sim-busy", "Help. [len=3]"),
      (one) => degradedOf(one) === "region",
      IN_FORCE_MS,
    );
    expect([degradedOf(got), got.headers.get("x-meridian-region")]).toEqual(["region", "eu-west"]);
  });

  it("a step that needs approval waits for it: proposed by the router, approved by a human", async () => {
    const status = async () => (await ask(keys.plain, "sim-careful", "Help. [len=3]")).status;
    expect(await status()).toBe(503);
    const proposed = await eventually(
      async () => ((await stack.admin.must(200, "GET", "approvals")) as { data: { id: string }[] }).data,
      (list) => list.length > 0,
    );
    expect(proposed).toMatchObject([{ step: "model", state: "proposed", proposedBy: "meridian" }]);
    await stack.admin.must(200, "POST", `approvals/${proposed[0]!.id}/approve`);
    expect(await eventually(status, (now) => now === 200, IN_FORCE_MS)).toBe(200);
  });
});

describe("when no region answers", () => {
  it("what was kept is served though it is stale", async () => {
    const brief = () => ask(keys.keeps, "sim-brief", "Of storms. [len=20]");
    const first = await brief();
    expect([first.status, cacheOf(first)]).toEqual([200, "miss"]);
    await faultEverywhere(stack, { status: { code: 500 } });
    const stale = await eventually(brief, (got) => cacheOf(got) === "stale", 30_000);
    expect([stale.status, cacheOf(stale), degradedOf(stale)]).toEqual([200, "stale", "cache"]);
    expect(stale.text).toBe(first.text);
    expect((await ask(keys.keeps, "sim-brief", "Of another storm.")).status).toBeGreaterThanOrEqual(500);
  });
});
