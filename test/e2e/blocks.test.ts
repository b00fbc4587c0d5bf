import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { eventually, type TestStack, testStack } from "../support/stack.ts";

/** A hot tenant: its isolate admits by itself, the bill is the engines' count all the same, and a revocation still bites. */
let stack: TestStack;
beforeAll(async () => {
  stack = await testStack({ simArgs: ["--speed", "50"] });
});
afterAll(() => stack?.end());

const LIMITS = {
  tokensPerMinute: 100_000_000,
  tokensPerDay: 1_000_000_000,
  requestsPerMinute: 1_000_000,
  concurrentRequests: 20_000,
};
const CLIENTS = 24;

async function call(key: string): Promise<{ status: number; mode: string | null }> {
  const body = {
    model: "sim-chat",
    max_tokens: 2,
    messages: [{ role: "user", content: `${Math.random()} [len=2]` }],
  };
  const headers = { authorization: `Bearer ${key}` };
  const answer = await stack.post("/v1/chat/completions", body, headers);
  await answer.text();
  return { status: answer.status, mode: answer.headers.get("x-meridian-budget-mode") };
}

/** Calls without a pause until `enough` says so of the answers so far. */
async function rush(key: string, enough: (answers: Awaited<ReturnType<typeof call>>[]) => boolean) {
  const answers: Awaited<ReturnType<typeof call>>[] = [];
  const client = async () => {
    while (!enough(answers)) answers.push(await call(key));
  };
  await Promise.all(Array.from({ length: CLIENTS }, client));
  return answers;
}

describe("a tenant with many requests a second", () => {
  it("is admitted out of blocks, billed what engines made, and nothing stays held", async () => {
    const key = await stack.tenant("hot", LIMITS);
    const before = await stack.ledgers();
    const byMode = (answers: { mode: string | null }[]) => answers.filter(({ mode }) => mode === "block");
    const answers = await rush(key, (all) => byMode(all).length >= 200 || all.length >= 5_000);
    expect(new Set(answers.map(({ status }) => status))).toEqual(new Set([200]));
    expect(byMode(answers).length).toBeGreaterThanOrEqual(200);
    const usage = await eventually(
      () => stack.usage("hot"),
      ({ open, totals }) => open.reservedTokens === 0 && totals.requests === answers.length,
    );
    expect(usage.open).toEqual({ reservations: 0, running: 0, reservedTokens: 0 });
    const after = await stack.ledgers();
    const made = after.promptTokens + after.outputTokens - before.promptTokens - before.outputTokens;
    expect(usage.totals.promptTokens + usage.totals.outputTokens).toBe(made);
  });

  it("is refused within 10 s of the revocation of its key, however hot it is", async () => {
    const key = await stack.tenant("hot-revoked", LIMITS);
    await rush(key, (all) => all.some(({ mode }) => mode === "block") || all.length >= 5_000);
    const listed = (await stack.admin.must(200, "GET", "tenants/hot-revoked/keys")) as {
      data: { id: string }[];
    };
    await stack.admin.must(204, "DELETE", `tenants/hot-revoked/keys/${listed.data[0]!.id}`);
    const fromMs = Date.now();
    const answers = await rush(
      key,
      (all) => all.some(({ status }) => status === 401) || Date.now() - fromMs > 15_000,
    );
    expect(answers.some(({ status }) => status === 401)).toBe(true);
    expect(Date.now() - fromMs).toBeLessThan(10_000);
  });
});
