import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { UNSTARTED_HELD_MAX_MS } from "../support/held.ts";
import { eventually, type TestStack, testStack } from "../support/stack.ts";

/**
 * The bill is exact: whatever ends a stream, the tenant is charged what the replicas emitted, to the token, and
 * nothing stays reserved or permitted.
 */
let stack: TestStack;
beforeAll(async () => {
  stack = await testStack();
});
afterAll(() => stack?.end());

const LOCATIONS = ["NA/40/-75", "EU/50/4", "AS/10/105"];

/** One stream; killed after `killAfter` chunks, or read to its end. Returns whether it broke for another reason. */
async function stream(index: number, killAfter: number | null): Promise<"done" | "killed" | "broken"> {
  const client = stack.openai({ location: LOCATIONS[index % 3]! });
  try {
    const answer = await client.chat.completions.create({
      model: "sim-chat",
      stream: true,
      messages: [
        {
          role: "user",
          content: `Tell me story number ${index}. [len=${killAfter === null ? 150 + (index % 60) : 500}]`,
        },
      ],
    });
    let chunks = 0;
    for await (const _ of answer) {
      chunks += 1;
      if (killAfter !== null && chunks >= killAfter) {
        answer.controller.abort();
        return "killed";
      }
    }
    return "done";
  } catch (error) {
    broken.push(String(error));
    return "broken";
  }
}
/** What broke the streams that broke, for the message of a failing test. */
const broken: string[] = [];

async function nothingOpen(): Promise<void> {
  const usage = await eventually(
    () => stack.usage(),
    ({ open }) => open.reservations === 0,
    UNSTARTED_HELD_MAX_MS,
  );
  expect(usage.open).toEqual({ reservations: 0, running: 0, reservedTokens: 0 });
  for (const { name } of stack.info.regions) {
    const inUse = async () => JSON.stringify((await stack.admin.call("GET", `pools/${name}`)).body);
    expect(await eventually(inUse, (text) => !/"inUse":[1-9]/.test(text))).not.toMatch(/"inUse":[1-9]/);
  }
}

async function billEqualsLedger(): Promise<void> {
  const [usage, ledger] = [await stack.usage(), await stack.ledgers()];
  const billed = { promptTokens: usage.totals.promptTokens, outputTokens: usage.totals.outputTokens };
  expect(billed).toEqual({ promptTokens: ledger.promptTokens, outputTokens: ledger.outputTokens });
}

describe("the bill", () => {
  it("equals the replicas' ledgers after 200 streams of which a third were killed half way", async () => {
    const ends = await Promise.all(
      Array.from({ length: 200 }, (_, index) => stream(index, index % 3 === 0 ? 3 + (index % 30) : null)),
    );
    expect(broken).toEqual([]);
    expect(ends.filter((end) => end === "killed").length).toBeGreaterThan(60);
    await nothingOpen();
    await billEqualsLedger();
    const { entries } = await stack.ledgers();
    // On a busy machine a stream may be through before its client gets to leaving.
    expect(entries.filter(({ aborted }) => aborted).length).toBeGreaterThan(30);
  });

  it("is still exact when the edge is killed in the middle", async () => {
    const running = Array.from({ length: 60 }, (_, index) => stream(1_000 + index, null));
    await new Promise((resolve) => setTimeout(resolve, 400));
    stack.edge.kill("SIGKILL");
    const ends = await Promise.all(running);
    expect(ends.filter((end) => end === "broken").length).toBeGreaterThan(0);
    await eventually(
      () =>
        fetch(`${stack.info.baseUrl}/ready`).then(
          (r) => r.ok,
          () => false,
        ),
      Boolean,
    );
    await nothingOpen();
    await billEqualsLedger();
  }, 180_000);
});
