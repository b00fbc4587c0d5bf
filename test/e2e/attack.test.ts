import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { KINDS, PLACES } from "../../sim/attack/clients.ts";
import { bothPolicies, type Round } from "../../sim/attack/rounds.ts";
import { attackRig } from "../../sim/attack/run.ts";
import { simulatedPlan } from "../../sim/stack/plan.ts";
import { settledUsage } from "../support/books.ts";
import { type TestStack, testStack } from "../support/stack.ts";

/** Budgets are spent as fast as clients can, and what the replicas emitted is looked at in every interval. */
const PLAN = simulatedPlan();
/** Nobody said how long its context is. */
const OPEN_ENDED = { id: "sim-open", kind: "generate" as const, servedName: "sim-chat" };
const rig = attackRig(1);
let stack: TestStack;
beforeAll(async () => {
  const { reportsBy, simArgs } = rig;
  stack = await testStack({ plan: { ...PLAN, models: [...PLAN.models, OPEN_ENDED] }, simArgs, reportsBy });
});
afterAll(() => stack?.end());

it("no tenant gets more than its bound in any interval, from nine places, while the edge dies and reports are late", async () => {
  const kinds = [KINDS.shortStream, KINDS.longStream, KINDS.longJson, KINDS.wholeJson];
  const round: Round = {
    seconds: 16,
    killEveryMs: 8_000,
    lateness: { delayMaxMs: 1_000, lostShare: 0.2 },
    settledWithinMs: 0,
    leaveAtEnd: true,
    targets: bothPolicies("nine places", {
      ...{ limits: { tokensPerMinute: 12_000 }, places: PLACES, clientsPerPlace: 2, kinds, leaveShare: 0.1 },
    }),
  };
  const rows = await rig.run(stack, round, () => undefined);
  for (const { allowed, beyond, inMinute, target } of rows) {
    expect(beyond, `${target.overdraft}: ${inMinute} in a minute`).toBeLessThanOrEqual(allowed);
    // They did spend it.
    expect(inMinute).toBeGreaterThan(target.limits.tokensPerMinute * 0.25);
  }
});

// At the same time: each is a tenant of its own.
describe.concurrent("five calls at once against a budget of 100 tokens a minute", () => {
  const cases = (["stop", "debt"] as const).flatMap((overdraft) =>
    ["sim-chat", "sim-open"].flatMap((model) =>
      [{}, { max_tokens: 5_000 }, { stream: true }, { stream: true, max_tokens: 5_000 }, { n: 2 }].map(
        (more) => [overdraft, model, more] as const,
      ),
    ),
  );
  let tenants = 0;

  it.each(cases)("never get more than that: policy %s, %s, %o", async (overdraft, model, more) => {
    const id = `hundred-${++tenants}`;
    const key = await stack.tenant(id, { tokensPerMinute: 100 }, { overdraft });
    const call = async (index: number) => {
      const messages = [{ role: "user", content: `${index} Hello [len=600]` }];
      const body = { model, messages, ...more };
      const answer = await stack.post("/v1/chat/completions", body, { authorization: `Bearer ${key}` });
      await answer.text();
      return answer.status;
    };
    const fromMs = Date.now();
    const statuses = await Promise.all([1, 2, 3, 4, 5].map(call));
    expect(statuses.sort()).toEqual([200, 429, 429, 429, 429]);
    const { totals } = await settledUsage(stack, id);
    const refilled = ((Date.now() - fromMs) * 100) / 60_000;
    expect(totals.promptTokens + totals.outputTokens).toBeLessThanOrEqual(100 + refilled);
  });
});
