import { readFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { Learned } from "../../src/limits/messages.ts";
import { eventually, type TestStack, testStack } from "../support/stack.ts";

/** What engines count comes back to the edge as a better estimate; what models cost comes to the budget as weights. */
let stack: TestStack;
beforeAll(async () => {
  stack = await testStack({ simArgs: ["--speed", "20"] });
});
afterAll(() => stack?.end());

const LIMITS = { tokensPerMinute: 10_000_000, tokensPerDay: 100_000_000 };
const MODEL = "sim-chat";

async function chat(key: string, content: string): Promise<Response> {
  const body = { model: MODEL, messages: [{ role: "user", content }] };
  const answer = await stack.post("/v1/chat/completions", body, { authorization: `Bearer ${key}` });
  expect([answer.status, await answer.text()]).toEqual([200, expect.any(String)]);
  return answer;
}

/** The edge's log line of a request says what it estimated. */
async function estimateOf(answer: Response): Promise<number> {
  const log = () => Promise.resolve(readFileSync(join(stack.stateDir, "logs", "edge.log"), "utf8"));
  const id = `"requestId":"${answer.headers.get("x-request-id")}"`;
  const line = (await eventually(log, (text) => text.includes(id)))
    .split("\n")
    .find((one) => one.includes(id));
  return (JSON.parse(line!) as { estimatedPromptTokens: number }).estimatedPromptTokens;
}

async function learnedPrompts(): Promise<number> {
  const states = await Promise.all(
    stack.info.regions.map(async ({ name }) => {
      const { live } = (await stack.admin.must(200, "GET", `pools/${name}`)) as {
        live: { model: string; state: { learned: Learned } | null }[];
      };
      return live.find(({ model }) => model === MODEL)?.state?.learned.prose.count ?? 0;
    }),
  );
  return states.reduce((sum, count) => sum + count, 0);
}

describe("estimates", () => {
  it("get better with what engines count", async () => {
    const key = await stack.tenant("learner", LIMITS);
    const words = "The router counts letters and takes them for tokens before anybody has read them. ".repeat(
      12,
    );
    const first = await estimateOf(await chat(key, `${words} [len=5]`));
    const ledger = await stack.ledgers();
    const truth = ledger.entries.at(-1)!.promptTokens;
    for (let index = 0; index < 12; index++) {
      const before = await learnedPrompts();
      await chat(key, `${words} [len=5]`);
      // One at a time: each batch of a gate teaches one prompt of a tenant.
      expect(await eventually(learnedPrompts, (count) => count > before, 5_000)).toBeGreaterThan(before);
    }
    const latest = async () => estimateOf(await chat(key, `${words} [len=5]`));
    const better = (estimate: number) => Math.abs(estimate - truth) < Math.abs(first - truth);
    const last = await eventually(latest, better, 30_000);
    expect({ first, last, truth, better: better(last) }).toMatchObject({ better: true });
  });
});

describe("weights", () => {
  it("make the day's budget a sum of prices, exactly", async () => {
    const weights = { input: 2_000, cachedInput: 500, output: 7_000 };
    const { version } = (await stack.admin.must(200, "GET", `models/${MODEL}`)) as { version: number };
    const changed = await stack.admin.call("PATCH", `models/${MODEL}`, { weights }, `"${version}"`);
    expect([changed.status, changed.body]).toMatchObject([200, { weights }]);

    // In force everywhere within ten seconds: each try has a tenant of its own, so that all it spent has one price.
    let tries = 0;
    const spent = async () => {
      const id = `money-${tries++}`;
      await chat(await stack.tenant(id, LIMITS), `Tell me what tokens cost. [len=${20 + tries}]`);
      const { totals, limits } = await eventually(
        () => stack.usage(id),
        ({ open }) => open.reservations === 0,
      );
      const { promptTokens, cachedTokens, outputTokens } = totals;
      const due = 2 * (promptTokens - cachedTokens) + 0.5 * cachedTokens + 7 * outputTokens;
      const used = limits.find(({ scope }) => scope === "tenant")?.tokensPerDay?.used;
      return { used, due: Math.ceil(due), plain: promptTokens + outputTokens };
    };
    const { used, due, plain } = await eventually(spent, (one) => one.used !== one.plain, 15_000);
    expect(plain).toBeGreaterThan(20);
    expect(used).toBe(due);
  });
});
