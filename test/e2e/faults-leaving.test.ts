import { afterAll, beforeAll, describe, expect, it } from "vitest";
import {
  chat,
  entriesOf,
  faultRegion,
  faultsPlan,
  newCase,
  replicasOf,
  startAndLeave,
} from "../support/endings.ts";
import { live, meterFrom, stillHeld } from "../support/held.ts";
import { eventually, type LedgerEntry, type TestStack, testStack } from "../support/stack.ts";

/** Clients that leave, at every moment at which they can. */
let stack: TestStack;
beforeAll(async () => {
  const plan = faultsPlan();
  const regions = plan.regions.map((region) => {
    return region.name === "ap-southeast" ? { ...region, concurrencyPerReplica: 1 } : region;
  });
  stack = await testStack({ plan: { ...plan, regions } });
});
afterAll(() => stack?.end());

const MODES = [
  ["streamed", true],
  ["not streamed", false],
] as const;

/** The entry that appears next in a ledger, once `reached` holds for it. */
async function nextEntry(known: ReadonlySet<string>, reached: (entry: LedgerEntry) => boolean) {
  const look = async () => (await stack.ledgers()).entries.find(({ id }) => !known.has(id));
  const entry = await eventually(look, (found) => found !== undefined && reached(found));
  if (entry === undefined) throw new Error("no request reached a replica");
  return entry;
}

async function knownIds(): Promise<Set<string>> {
  return new Set((await stack.ledgers()).entries.map(({ id }) => id));
}

/** What the engine makes of this prompt. */
async function promptTokensOf(prompt: string): Promise<number> {
  const response = await fetch(`${replicasOf(stack, "us-east")[0]!.url}/tokenize`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ model: "sim-chat", messages: [{ role: "user", content: prompt }] }),
  });
  return ((await response.json()) as { count: number }).count;
}

describe.each(MODES)("a client that leaves, %s", (_, stream) => {
  it.each([
    ["before the engine's headers", { slowHeaders: { ms: 1_500 } }, 0],
    ["while it waits for the first token", { stall: { afterTokens: 0 } }, 0],
  ])("%s pays for its prompt, and the engine is free", async (_when, fault, outputTokens) => {
    const { marker, prompt } = newCase(200);
    await faultRegion(stack, "us-east", fault, marker);
    const [meter, known] = [await meterFrom(stack), await knownIds()];
    const client = startAndLeave(stack, { prompt, stream });
    const { id } = await nextEntry(known, () => true);
    client.leave();
    await client.ended;
    const promptTokens = await promptTokensOf(prompt);
    expect(await meter.becomes({ promptTokens, outputTokens })).toEqual({ promptTokens, outputTokens });
    const gone = () => entriesOf(stack, id);
    const entries = await eventually(gone, ([entry]) => entry?.state === "aborted");
    expect(entries).toMatchObject([{ state: "aborted", aborted: true, outputTokens: 0 }]);
    expect(await stillHeld(stack)).toEqual([]);
  });

  it("in the middle pays for what was emitted, and the engine is free", async () => {
    const { marker, prompt } = newCase(400);
    await faultRegion(stack, "us-east", { stall: { afterTokens: 7 } }, marker);
    const [meter, known] = [await meterFrom(stack), await knownIds()];
    const client = startAndLeave(stack, { prompt, stream });
    const { id, promptTokens, outputTokens } = await nextEntry(known, (entry) => entry.outputTokens >= 7);
    client.leave();
    await client.ended;
    const expected = { promptTokens, outputTokens };
    expect(await meter.becomes(expected)).toEqual(expected);
    expect(await entriesOf(stack, id)).toMatchObject([{ state: "aborted", aborted: true }]);
    expect(await stillHeld(stack)).toEqual([]);
  });

  it("while it waits for a permit leaves the queue, and pays nothing", async () => {
    const id = `queue-${stream}`;
    const key = await stack.tenant(id, {}, { regions: ["ap-southeast"] });
    const from = "ap-southeast";
    const first = newCase(2_000);
    await faultRegion(stack, from, { stall: { afterTokens: 1 } }, first.marker);
    const holder = startAndLeave(stack, { prompt: first.prompt, stream: true, key, from });
    const ofChat = async () => (await live(stack, from)).find(({ model }) => model === "sim-chat")!.state;
    expect(await eventually(ofChat, ({ inUse }) => inUse === 1)).toMatchObject({ inUse: 1, waiting: 0 });
    const known = await knownIds();
    const waiter = startAndLeave(stack, { prompt: newCase().prompt, stream, key, from });
    expect(await eventually(ofChat, ({ waiting }) => waiting === 1)).toMatchObject({ inUse: 1, waiting: 1 });
    waiter.leave();
    await waiter.ended;
    expect(await eventually(ofChat, ({ waiting }) => waiting === 0)).toMatchObject({ inUse: 1, waiting: 0 });
    const open = async () => (await stack.usage(id)).open;
    expect(await eventually(open, ({ reservations }) => reservations === 1)).toMatchObject({
      reservations: 1,
      running: 1,
    });
    holder.leave();
    await holder.ended;
    expect(await stillHeld(stack, id)).toEqual([]);
    expect([...(await knownIds())].filter((entry) => !known.has(entry))).toEqual([]);
    expect((await stack.usage(id)).totals.requests).toBe(1);
  });
});

it("a client of the SDK that leaves after the first chunk pays for what was emitted", async () => {
  const { prompt } = newCase(800);
  const meter = await meterFrom(stack);
  const seen = await chat(stack, { prompt, stream: true, onChunk: (chunks) => chunks === 3 });
  expect(seen.raw).not.toContain("[DONE]");
  const requestId = seen.headers.get("x-request-id")!;
  const left = await eventually(
    () => entriesOf(stack, requestId),
    ([entry]) => entry?.aborted === true,
  );
  expect(left).toMatchObject([{ state: "aborted", aborted: true }]);
  const { promptTokens, outputTokens } = left[0]!;
  expect(outputTokens).toBeGreaterThanOrEqual(3);
  expect(outputTokens).toBeLessThan(800);
  expect(await meter.becomes({ promptTokens, outputTokens })).toEqual({ promptTokens, outputTokens });
  expect(await stillHeld(stack)).toEqual([]);
});
