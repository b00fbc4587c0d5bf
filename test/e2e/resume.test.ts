import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { simulatedPlan } from "../../sim/stack/plan.ts";
import { type Ask, type Call, chat, completions, messages, responses, type Told } from "../support/calls.ts";
import { eventually, type TestStack, testStack } from "../support/stack.ts";

/**
 * Streams whose replica, gate or region dies half way. The client sees one unbroken stream, equal to the one that it
 * would have got, and pays for it once.
 */
let stack: TestStack;
beforeAll(async () => {
  const plan = simulatedPlan(1);
  // Every other stream fails here by intent, which is what a breaker opens at.
  const settings = { tokenGapTimeoutMs: 1_500, breakers: { errorRate: null } };
  const models = plan.models.map((model) => (model.id === "sim-chat" ? { ...model, ...settings } : model));
  stack = await testStack({ plan: { ...plan, models }, simArgs: ["--speed", "2"] });
});
afterAll(() => stack?.end());
afterEach(async () => {
  for (const region of stack.info.regions) {
    for (const { id } of region.replicas) await stack.fault(id, {}).catch(() => undefined);
  }
});

const NEAR = "NA/40/-75";
const TEXT = "灯塔与海的故事 😀🚢 写一段 `for (const x of xs) { f(x); }` [len=60]";
const user = (content: string) => [{ role: "user" as const, content }];

/** Asks until the nearest region serves again: what was killed is back, and its breaker closed. */
function served(ask: Ask): Promise<Told> {
  return eventually(
    () => ask(stack, NEAR).catch(() => null),
    (told) => told?.headers.get("x-meridian-region") === "us-east",
    40_000,
  ).then((told) => {
    if (told === null) throw new Error("the nearest region does not come back");
    return told;
  });
}

/** Tokens charged to the demo tenant, once nothing is open any more. */
async function charged(): Promise<readonly [number, number]> {
  const { totals, open } = await eventually(
    () => stack.usage(),
    (usage) => usage.open.reservations === 0,
  );
  expect(open.reservations).toBe(0);
  return [totals.promptTokens, totals.outputTokens];
}

/** The same call twice: undisturbed, and with trouble; what it said and what it cost must be the same. */
async function survives(call: Call, trouble: () => Promise<void>, mode: "streamed" | "whole"): Promise<Told> {
  const ask = call[mode]!;
  const unbroken = await served(ask);
  const before = await charged();
  await trouble();
  const told = await ask(stack, NEAR);
  expect(told.said).toEqual(unbroken.said);
  expect(told.usage).toEqual(unbroken.usage);
  const after = await charged();
  const paid = [after[0] - before[0], after[1] - before[1]];
  expect(paid).toEqual(told.usage);
  return told;
}

const CALLS: [name: string, call: (text: string) => Call][] = [
  ["chat", (text) => chat({ messages: user(text) })],
  ["chat with a limit", (text) => chat({ messages: user(text), max_tokens: 40 })],
  [
    "chat with a stop string",
    (text) => chat({ messages: user(text), stop: ["never said", "\u{1}nor this"] }),
  ],
  [
    "responses with a stop string",
    (text) =>
      responses({ input: text, stop: ["never said", "\u{1}nor this"] } as Parameters<typeof responses>[0]),
  ],
  [
    "messages with stop strings",
    (text) => messages({ messages: user(text), max_tokens: 200, stop_sequences: ["\u{1}", "never said"] }),
  ],
  ["completions", (text) => completions(text)],
  ["responses", (text) => responses({ input: text })],
  ["messages", (text) => messages({ messages: user(text), max_tokens: 200 })],
];

const FAULTS: [name: string, fault: (match: string) => Record<string, unknown>][] = [
  ["breaks off", (match) => ({ cut: { afterTokens: 7, match } })],
  ["breaks off inside an event", (match) => ({ cut: { afterTokens: 7, insideEvent: true, match } })],
  ["tells an error and [DONE]", (match) => ({ engineError: { afterTokens: 7, match } })],
  ["ends without a finish reason", (match) => ({ endWithoutDone: { afterTokens: 7, match } })],
  ["sends what is no event", (match) => ({ garbage: { afterTokens: 7, match } })],
  ["falls silent", (match) => ({ stall: { afterTokens: 7, match } })],
  ["dies", (match) => ({ die: { afterTokens: 7, match } })],
];

let marker = 0;
const marked = () => {
  marker += 1;
  return { match: `case ${marker};`, text: `case ${marker}; ${TEXT}` };
};

describe.each(CALLS)("%s", (_name, callOf) => {
  it.each(FAULTS)("a stream goes on when its replica %s", async (_fault, fault) => {
    const { match, text } = marked();
    const told = await survives(callOf(text), () => stack.fault("us-east-0", fault(match)), "streamed");
    expect(told.headers.get("x-meridian-resumable")).toBe("yes");
    expect(told.headers.get("x-meridian-region")).toBe("us-east");
    const { entries } = await ledgersOnceAllAreBack();
    const ran = entries.filter(({ id }) => id === told.headers.get("x-request-id"));
    expect(ran.map(({ replica }) => replica)).toContain("eu-west-0");
  });

  it.each([
    ["before its last token", 1],
    ["between its last token and the end", 0],
  ])("a stream is whole when its replica breaks off %s", async (_place, missing) => {
    const { match, text } = marked();
    const { usage } = await served(callOf(text).streamed!);
    const fault = { cut: { afterTokens: usage![1] - missing, match } };
    const told = await survives(callOf(text), () => stack.fault("us-east-0", fault), "streamed");
    const { entries } = await ledgersOnceAllAreBack();
    const ran = entries.filter(({ id }) => id === told.headers.get("x-request-id"));
    expect(ran.map(({ state }) => state)).toContain("failed");
  });

  it("one JSON is made anew when its replica breaks off", async () => {
    const { match, text } = marked();
    const fault = { cut: { afterTokens: 7, match } };
    await survives(callOf(text), () => stack.fault("us-east-0", fault), "whole");
  });
});

/** A replica that was killed is started again, with a new ledger. */
async function ledgersOnceAllAreBack() {
  let ledgers: Awaited<ReturnType<TestStack["ledgers"]>> | null = null;
  await eventually(
    async () => {
      ledgers = await stack.ledgers().catch(() => null);
    },
    () => ledgers !== null,
  );
  if (ledgers === null) throw new Error("a replica stays away");
  return ledgers as Awaited<ReturnType<TestStack["ledgers"]>>;
}

/** Does something when the stream has begun. */
function soon(what: () => void): () => Promise<void> {
  return async () => {
    setTimeout(what, 250);
  };
}

describe.each(CALLS.filter(([name]) => name !== "completions"))("%s, while it runs", (_name, callOf) => {
  const long = () => callOf(marked().text.replace("[len=60]", "[len=160]"));

  it("goes on when its gate is killed", async () => {
    const kill = soon(() => stack.gates.get("us-east")!.kill("SIGKILL"));
    await survives(long(), kill, "streamed");
  });

  it("goes on when its whole region is killed", async () => {
    const kill = soon(() => {
      stack.replicas.get("us-east-0")!.kill("SIGKILL");
      stack.gates.get("us-east")!.kill("SIGKILL");
    });
    await survives(long(), kill, "streamed");
  });
});

describe("what cannot be carried on", () => {
  it.each([
    ["a stop string beside stop tokens", { stop: ["never said"], stop_token_ids: [7] }],
    ["a penalty", { presence_penalty: 0.5 }],
    ["log probabilities", { logprobs: true }],
  ])("%s: ends with an error, and a header said so", async (_name, more) => {
    const { match, text } = marked();
    await served(chat({ messages: user("One. [len=2]") }).whole);
    await stack.fault("us-east-0", { cut: { afterTokens: 7, match } });
    const body = { model: "sim-chat", stream: true, temperature: 0, messages: user(text), ...more };
    const response = await stack.post("/v1/chat/completions", body, { "x-meridian-dev-location": NEAR });
    expect(response.headers.get("x-meridian-resumable")).toBe("no");
    const raw = await response.text();
    expect(raw).toContain("stream_broken");
    expect(raw).not.toContain("[DONE]");
  });
});
