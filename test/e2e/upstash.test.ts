import { readFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type StackPlan, simulatedPlan } from "../../sim/stack/plan.ts";
import { REDIS_GUARD_TIMEOUT_MS } from "../../src/bounds.ts";
import { DENIED_KEY } from "../../src/upstash/lists.ts";
import { RedisBridge } from "../support/redis-bridge.ts";
import { HAS_REDIS, NEEDS_REDIS } from "../support/redis-server.ts";
import { eventually, type TestStack, testStack } from "../support/stack.ts";

const FLOOD_LIMIT = 20;
const IN_FORCE_WITHIN_MS = 10_000;
/** What a busy machine may add to a wait. Far below the stall. */
const SLACK_MS = 1_500;

function onePool(): StackPlan {
  const plan = simulatedPlan(1);
  return { ...plan, regions: plan.regions.slice(0, 1) };
}

let addresses = 0;
function newAddress(): string {
  addresses += 1;
  return `198.51.100.${addresses}`;
}

/** One short answer. Cloudflare sets the address in production; here the test does. */
async function ask(stack: TestStack, address = newAddress(), more: Record<string, unknown> = {}) {
  const messages = [{ role: "user", content: "Say something. [len=20]" }];
  const response = await stack.post(
    "/v1/chat/completions",
    { model: "sim-chat", messages, ...more },
    { "cf-connecting-ip": address },
  );
  const stages = response.headers.get("server-timing") ?? "";
  return {
    status: response.status,
    headers: response.headers,
    body: (await response.json()) as { error?: { code: string; type: string } },
    authMs: Number(/auth;dur=(\d+)/.exec(stages)?.[1]),
    reserveMs: Number(/reserve;dur=(\d+)/.exec(stages)?.[1]),
  };
}

describe.skipIf(!HAS_REDIS)(`with Redis${NEEDS_REDIS}`, () => {
  let bridge: RedisBridge;
  let stack: TestStack;
  beforeAll(async () => {
    bridge = await new RedisBridge().start();
    stack = await testStack({
      plan: onePool(),
      edgeEnv: {
        UPSTASH_REDIS_REST_URL: bridge.url,
        UPSTASH_REDIS_REST_TOKEN: bridge.token,
        FLOOD_REQUESTS_PER_10S: String(FLOOD_LIMIT),
      },
    });
  });
  afterAll(async () => {
    await stack?.end();
    await bridge.end();
  });

  const metrics = async () => {
    const headers = { authorization: `Bearer ${stack.info.adminKey}` };
    return (await fetch(`${stack.info.baseUrl}/metrics`, { headers })).text();
  };

  /** Asks again and again until the code of the answer is as wished. Returns the milliseconds that it took. */
  async function untilCode(code: string | undefined): Promise<number> {
    const fromMs = Date.now();
    const seen = await eventually(
      async () => (await ask(stack)).body.error?.code,
      (now) => now === code,
      IN_FORCE_WITHIN_MS + SLACK_MS,
    );
    expect(seen).toBe(code);
    return Date.now() - fromMs;
  }

  it("mirrors the bill to the token, killed streams included, and its drift is 0", async () => {
    expect((await ask(stack)).status).toBe(200);
    expect(await eventually(metrics, (text) => text.includes("meridian_mirror_drift_tokens{"))).toMatch(
      /^meridian_mirror_drift_tokens\{tenant="[0-9A-Za-z]{11}"\} 0$/m,
    );
    await Promise.all(Array.from({ length: 12 }, (_, nth) => stream(stack, nth % 3 === 0)));
    const usage = await eventually(
      () => stack.usage(),
      ({ open }) => open.reservations === 0,
    );
    expect(usage.open.reservations).toBe(0);
    const { promptTokens, cachedTokens, outputTokens } = usage.totals;
    expect(promptTokens).toBeGreaterThan(0);
    expect(outputTokens).toBeGreaterThan(100);
    const mirrored = await eventually(
      () => mirroredTotals(bridge),
      (totals) => totals.promptTokens === promptTokens && totals.outputTokens === outputTokens,
    );
    expect(mirrored).toEqual({ promptTokens, cachedTokens, outputTokens });
  });

  it("turns a flood away before any object is touched, and only the one that floods", async () => {
    const flooder = newAddress();
    const answers: Awaited<ReturnType<typeof ask>>[] = [];
    const refusals = () => answers.filter(({ status }) => status === 429);
    // A few at a time, as long as it takes: on a busy machine the guard's wait for Redis runs out, and it fails open.
    for (const untilMs = Date.now() + 25_000; refusals().length === 0 && Date.now() < untilMs; ) {
      answers.push(...(await Promise.all(Array.from({ length: 5 }, () => ask(stack, flooder)))));
    }
    const refused = refusals();
    // A window that ends in between lets some more through, and never fewer.
    expect(answers.filter(({ status }) => status === 200).length).toBeGreaterThanOrEqual(FLOOD_LIMIT);
    expect(refused.length).toBeGreaterThan(0);
    for (const { body, headers, reserveMs } of refused) {
      expect(body.error).toMatchObject({ type: "requests", code: "rate_limit_exceeded" });
      expect(Number(headers.get("retry-after"))).toBeLessThanOrEqual(10);
      expect(reserveMs).toBe(0);
    }
    expect((await ask(stack)).status).toBe(200);
    expect(await metrics()).toMatch(/^meridian_flood_total\{verdict="refused"\} [1-9]/m);
  });

  it("stops a tenant within 10 s of its kill switch, and lets it go on within 10 s of its release", async () => {
    await bridge.redis.command("SADD", DENIED_KEY, `tenant:${stack.info.tenant.id}`);
    expect(await untilCode("tenant_suspended")).toBeLessThan(IN_FORCE_WITHIN_MS);
    await bridge.redis.command("SREM", DENIED_KEY, `tenant:${stack.info.tenant.id}`);
    expect(await untilCode(undefined)).toBeLessThan(IN_FORCE_WITHIN_MS);
  });

  it("is waited for no longer than the timeout, once, when it stalls", async () => {
    expect((await ask(stack)).status).toBe(200);
    bridge.stallMs = 5_000;
    const answers = [];
    for (let nth = 0; nth < 8; nth++) answers.push(await ask(stack));
    expect(answers.map(({ status }) => status)).toEqual(Array(8).fill(200));
    const waits = answers.map(({ authMs }) => authMs);
    expect(waits[0]).toBeGreaterThanOrEqual(REDIS_GUARD_TIMEOUT_MS - 10);
    expect(waits[0]).toBeLessThan(REDIS_GUARD_TIMEOUT_MS + SLACK_MS);
    expect(Math.max(...waits.slice(1))).toBeLessThan(REDIS_GUARD_TIMEOUT_MS / 2);
    expect(await metrics()).toMatch(/^meridian_redis_failures_total\{use="guard"\} [1-9]/m);
    await bridge.heal();
  });
});

describe("without Redis", () => {
  let stack: TestStack;
  beforeAll(async () => {
    stack = await testStack({ plan: onePool() });
  });
  afterAll(() => stack?.end());

  it("the router runs, and its log says so once", async () => {
    for (let nth = 0; nth < 3; nth++) expect((await ask(stack)).status).toBe(200);
    const told = () =>
      readFileSync(join(stack.stateDir, "logs/edge.log"), "utf8").match(/"event":"redis_off"/g) ?? [];
    expect(
      await eventually(
        async () => told(),
        (lines) => lines.length > 0,
      ),
    ).toHaveLength(1);
  });
});

/** One stream; killed after a few chunks, or read to its end. */
async function stream(stack: TestStack, killed: boolean): Promise<void> {
  const answer = await stack.openai().chat.completions.create({
    model: "sim-chat",
    stream: true,
    messages: [{ role: "user", content: "Tell me a story. [len=120]" }],
  });
  let chunks = 0;
  for await (const _ of answer) {
    chunks += 1;
    if (killed && chunks === 5) return answer.controller.abort();
  }
}

/** Totals of all days that the mirror holds, for the stack's one tenant. */
async function mirroredTotals({ redis }: RedisBridge): Promise<Record<string, number>> {
  const totals: Record<string, number> = {};
  for (const key of (await redis.command("KEYS", "meridian:mirror:used:*")) as string[]) {
    const flat = (await redis.command("HGETALL", key)) as string[];
    for (let at = 0; at < flat.length; at += 2) {
      totals[flat[at]!] = (totals[flat[at]!] ?? 0) + Number(flat[at + 1]);
    }
  }
  return totals;
}
