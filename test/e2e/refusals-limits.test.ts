import Anthropic from "@anthropic-ai/sdk";
import OpenAI from "openai";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { REPORT_INTERVAL_MS } from "../../src/bounds.ts";
import { settledUsage } from "../support/books.ts";
import { expectRefusal } from "../support/refusals.ts";
import { eventually, type TestStack, testStack } from "../support/stack.ts";

/** What a client is told when a limit is reached, at each level, and that waiting as told is enough. */
const CHAT = "/v1/chat/completions";
const LIMIT = 1_200;
const SPENT = 1_100;
const ASKED = 1_000;

let stack: TestStack;
beforeAll(async () => {
  stack = await testStack({ simArgs: ["--speed", "10"] });
});
afterAll(() => stack?.end());

type Scope = "tenant" | "key" | "user";
type Limits = Record<string, number>;
interface Caller {
  readonly tenant: string;
  readonly key: string;
  readonly user: string;
}

/** A client under a limit of one level, and one beside it that is not. */
let tenants = 0;
async function callersUnder(scope: Scope, limits: Limits): Promise<{ limited: Caller; free: Caller }> {
  const tenant = `${scope}-${++tenants}`;
  const more = scope === "user" ? { endUserLimits: limits } : {};
  const key = await stack.tenant(tenant, scope === "tenant" ? limits : {}, more);
  const free = { tenant, key, user: "bob" };
  if (scope === "user") return { limited: { ...free, user: "ann" }, free };
  if (scope === "tenant")
    return { limited: free, free: { ...free, key: await stack.tenant(`${tenant}-not`, {}) } };
  const made = await stack.admin.must(201, "POST", `tenants/${tenant}/keys`, { limits });
  return { limited: { ...free, key: (made as { key: string }).key }, free };
}

/** A request that costs exactly so many tokens, at once. */
function spend({ key, user }: Caller, tokens: number): Promise<Response> {
  const body = { model: "sim-embed", input: Array(tokens).fill(7), user };
  return stack.post("/v1/embeddings", body, { authorization: `Bearer ${key}` });
}

/** A stream that runs until it is let go. */
async function hold({ key, user }: Caller): Promise<() => void> {
  const messages = [{ role: "user" as const, content: "On and on [len=30000]" }];
  const body = { model: "sim-chat", messages, user, stream: true as const };
  const stream = await stack.openai({ key }).chat.completions.create(body);
  await stream[Symbol.asyncIterator]().next();
  return () => stream.controller.abort();
}

interface Told {
  readonly limit: number;
  readonly used: number;
  readonly requested: number;
  readonly seconds: number;
}

function told(message: string, scope: string, name: string): Told {
  const pattern =
    /^Rate limit reached for this (\w+) on (.+): Limit (\d+), Used (\d+), Requested (\d+)\. Please try again in ([\d.]+)s\.$/;
  const [, level, dimension, ...numbers] = pattern.exec(message) ?? [message];
  expect([level, dimension]).toEqual([scope, name]);
  const [limit, used, requested, seconds] = numbers.map(Number) as [number, number, number, number];
  return { limit, used, requested, seconds };
}

async function refused(response: Response, code: string, type: string) {
  const text = await expectRefusal(response, CHAT, { status: 429, code, type, param: null });
  const { message } = (JSON.parse(text) as { error: { message: string } }).error;
  return { message, shown: Object.fromEntries(response.headers), headers: response.headers };
}

const DAY_S = 24 * 60 * 60;

describe.each(["tenant", "key", "user"] as const)("limits of a %s", (scope) => {
  it("tokens per minute", async () => {
    const { limited, free } = await callersUnder(scope, { tokensPerMinute: LIMIT });
    expect((await spend(limited, SPENT)).status).toBe(200);
    await settledUsage(stack, limited.tenant);
    const { message, shown } = await refused(await spend(limited, ASKED), "rate_limit_exceeded", "tokens");
    const { limit, used, requested, seconds } = told(message, scope, "tokens per min (TPM)");
    expect({ limit, requested }).toEqual({ limit: LIMIT, requested: ASKED });
    expect(used).toBeLessThanOrEqual(SPENT);
    // What is missing comes back at the limit's own pace; `used` is told in whole tokens.
    const missing = requested - (limit - used);
    const waitMs = Number(shown["retry-after-ms"]);
    expect(Math.abs(waitMs - (missing * 60_000) / limit)).toBeLessThanOrEqual(60_000 / limit + 1);
    expect(shown).toMatchObject({
      "retry-after": String(Math.ceil(waitMs / 1_000)),
      "x-ratelimit-limit-tokens": String(LIMIT),
      "x-ratelimit-remaining-tokens": String(LIMIT - used),
      "x-ratelimit-reset-tokens": expect.stringMatching(/^\d[\dms.]*s$/),
    });
    expect(seconds).toBeCloseTo(waitMs / 1_000, 1);
    expect((await spend(free, ASKED)).status).toBe(200);
    const settled = await settledUsage(stack, limited.tenant);
    expect(settled.totals.promptTokens).toBe(scope === "tenant" ? SPENT : SPENT + ASKED);
  });

  it("tokens per minute that a running request holds: its next report is waited for as well", async () => {
    const { limited } = await callersUnder(scope, { tokensPerMinute: LIMIT });
    const letGo = await hold(limited);
    const { message, shown } = await refused(await spend(limited, ASKED), "rate_limit_exceeded", "tokens");
    letGo();
    const { limit, used, requested } = told(message, scope, "tokens per min (TPM)");
    const refillMs = ((requested - (limit - used) - 1) * 60_000) / limit;
    expect(Number(shown["retry-after-ms"])).toBeGreaterThanOrEqual(refillMs + REPORT_INTERVAL_MS);
  });

  it("tokens per day: an SDK is told not to try again", async () => {
    const { limited, free } = await callersUnder(scope, { tokensPerDay: LIMIT });
    expect((await spend(limited, SPENT)).status).toBe(200);
    const { message, headers } = await refused(
      await spend(limited, ASKED),
      "insufficient_quota",
      "insufficient_quota",
    );
    expect(told(message, scope, "tokens per day (TPD)")).toMatchObject({
      limit: LIMIT,
      used: SPENT,
      requested: ASKED,
    });
    expect(headers.get("x-should-retry")).toBe("false");
    const waitS = Number(headers.get("retry-after"));
    expect([waitS > DAY_S - 600, waitS <= DAY_S + 600]).toEqual([true, true]);
    expect((await spend(free, ASKED)).status).toBe(200);
  });

  it("requests per minute", async () => {
    const { limited, free } = await callersUnder(scope, { requestsPerMinute: 2 });
    for (let turn = 0; turn < 2; turn++) expect((await spend(limited, 1)).status).toBe(200);
    const { message, shown } = await refused(await spend(limited, 1), "rate_limit_exceeded", "requests");
    const { limit, used, requested, seconds } = told(message, scope, "requests per min (RPM)");
    expect({ limit, used, requested }).toEqual({ limit: 2, used: 2, requested: 1 });
    // Half a minute each; a second more while nothing was heard of those before.
    expect([seconds > 0, seconds <= 30 + REPORT_INTERVAL_MS / 1_000]).toEqual([true, true]);
    expect(shown).toMatchObject({
      "retry-after": String(Math.ceil(Number(shown["retry-after-ms"]) / 1_000)),
      "x-ratelimit-limit-requests": "2",
      "x-ratelimit-remaining-requests": "0",
      "x-ratelimit-reset-requests": expect.stringMatching(/^\d[\dms.]*s$/),
    });
    expect((await spend(free, 1)).status).toBe(200);
  });

  it("concurrent requests: the place is free again when its stream ends", async () => {
    const { limited, free } = await callersUnder(scope, { concurrentRequests: 1 });
    const letGo = await hold(limited);
    const { message, headers } = await refused(await spend(limited, 1), "rate_limit_exceeded", "requests");
    expect(told(message, scope, "concurrent requests")).toMatchObject({ limit: 1, used: 1, requested: 1 });
    expect(headers.get("retry-after")).toBe("1");
    expect((await spend(free, 1)).status).toBe(200);
    letGo();
    const status = async () => (await spend(limited, 1)).status;
    expect(await eventually(status, (now) => now === 200)).toBe(200);
    // One after the other never meets its own predecessor.
    for (let turn = 0; turn < 5; turn++) expect(await status()).toBe(200);
  });

  it.each(["tokensPerMinute", "tokensPerDay"])(
    "%s: what never fits is told so, and not to try again",
    async (name) => {
      const { limited } = await callersUnder(scope, { [name]: 500, requestsPerMinute: 3 });
      const { message, headers } = await refused(await spend(limited, 501), "request_too_large", "tokens");
      expect(message).toContain(`needs 501 tokens, more than the ${scope}'s whole limit of 500`);
      expect([headers.get("x-should-retry"), headers.get("retry-after")]).toEqual(["false", null]);
      expect((await spend(limited, 500)).status).toBe(200);
    },
  );
});

describe("an output limit beyond the whole budget is clamped, and a header says so", () => {
  const prompt = {
    model: "sim-chat",
    messages: [{ role: "user" as const, content: "On and on [len=5000]" }],
  };
  const BUDGET = 400;

  it.each([
    ["one JSON", { max_tokens: 100_000 }],
    ["a stream", { max_tokens: 100_000, stream: true, stream_options: { include_usage: true } }],
    ["one JSON without a limit of its own", {}],
  ])("%s", async (name, more) => {
    const tenant = `clamped-${name.replaceAll(" ", "-").toLowerCase()}`;
    const key = await stack.tenant(tenant, { tokensPerMinute: BUDGET });
    const response = await stack.post(CHAT, { ...prompt, ...more }, { authorization: `Bearer ${key}` });
    const clamped = Number(response.headers.get("x-meridian-max-tokens"));
    expect([response.status, clamped > BUDGET / 2, clamped < BUDGET]).toEqual([200, true, true]);
    const text = await response.text();
    expect(text).toContain('"finish_reason":"length"');
    expect(text).toContain(`"completion_tokens":${clamped}`);
    const { totals } = await settledUsage(stack, tenant);
    expect(totals.outputTokens).toBe(clamped);
  });

  it("not where it fits", async () => {
    const key = await stack.tenant("unclamped", { tokensPerMinute: BUDGET });
    const response = await stack.post(
      CHAT,
      { ...prompt, max_tokens: 20 },
      { authorization: `Bearer ${key}` },
    );
    expect([response.status, response.headers.get("x-meridian-max-tokens")]).toEqual([200, null]);
    expect(await response.text()).toContain('"completion_tokens":20');
  });
});

it("Anthropic's clients are told in Anthropic's words", async () => {
  const key = await stack.tenant("anthropic", { tokensPerMinute: 500 });
  expect((await spend({ tenant: "anthropic", key, user: "ann" }, 450)).status).toBe(200);
  const client = new Anthropic({ baseURL: stack.info.baseUrl, apiKey: key, maxRetries: 0 });
  const body = { model: "sim-chat", max_tokens: 200, messages: [{ role: "user" as const, content: "Hi" }] };
  const refusal = await client.messages.create(body).catch((error: unknown) => error);
  expect(refusal).toBeInstanceOf(Anthropic.RateLimitError);
  const { error, headers } = refusal as InstanceType<typeof Anthropic.RateLimitError>;
  expect(error).toMatchObject({ type: "error", error: { type: "rate_limit_error" } });
  expect(Object.fromEntries(headers)).toMatchObject({
    "retry-after": expect.stringMatching(/^\d+$/),
    "anthropic-ratelimit-tokens-limit": "500",
  });
});

describe("the SDK with its own retries", () => {
  interface Try {
    readonly status: number;
    readonly waitMs: number;
    readonly atMs: number;
  }

  /** The SDK as it is, with an ear on what it fetches. */
  function listening(key: string, onRefusal: () => Promise<void> = async () => {}) {
    const tries: Try[] = [];
    const client = new OpenAI({
      baseURL: `${stack.info.baseUrl}/v1`,
      apiKey: key,
      maxRetries: 2,
      async fetch(url, init) {
        const atMs = performance.now();
        const response = await fetch(url, init);
        tries.push({ status: response.status, waitMs: Number(response.headers.get("retry-after-ms")), atMs });
        if (response.status === 429) await onRefusal();
        return response;
      },
    });
    return { client, tries };
  }

  it("waits as long as it is told, and succeeds", async () => {
    const key = await stack.tenant("patient", { tokensPerMinute: 6_000 });
    const { client, tries } = listening(key);
    await client.embeddings.create({ model: "sim-embed", input: Array(5_990).fill(7) });
    await settledUsage(stack, "patient");
    await client.embeddings.create({ model: "sim-embed", input: Array(400).fill(7) });
    expect(tries.map(({ status }) => status)).toEqual([200, 429, 200]);
    const [, first, second] = tries as [Try, Try, Try];
    expect(first.waitMs).toBeGreaterThan(0);
    expect(second.atMs - first.atMs).toBeGreaterThanOrEqual(first.waitMs);
  });

  it("finds the place that became free meanwhile", async () => {
    const key = await stack.tenant("queued", { concurrentRequests: 1 });
    const letGo = await hold({ tenant: "queued", key, user: "ann" });
    const { client, tries } = listening(key, async () => {
      letGo();
      await settledUsage(stack, "queued");
    });
    await client.embeddings.create({ model: "sim-embed", input: "x" });
    expect(tries.map(({ status }) => status)).toEqual([429, 200]);
  });

  it("does not come back where that is of no use", async () => {
    const key = await stack.tenant("hopeless", { tokensPerMinute: 500, tokensPerDay: 600 });
    const { client, tries } = listening(key);
    const ask = (tokens: number) =>
      client.embeddings.create({ model: "sim-embed", input: Array(tokens).fill(7) }).then(
        () => null,
        (error: unknown) => error,
      );
    expect(await ask(501)).toBeInstanceOf(OpenAI.RateLimitError);
    expect(await ask(400)).toBe(null);
    expect(await ask(300)).toBeInstanceOf(OpenAI.RateLimitError);
    expect(tries.map(({ status }) => status)).toEqual([429, 200, 429]);
  });
});
