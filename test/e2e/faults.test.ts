import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import {
  type Ask,
  chat,
  codeOf,
  entriesOf,
  faultRegion,
  faultsPlan,
  newCase,
  QUICK,
  type Seen,
} from "../support/endings.ts";
import { heal, meterFrom, stillHeld, type Tokens } from "../support/held.ts";
import { type LedgerEntry, type TestStack, testStack } from "../support/stack.ts";

/** Every way in which an engine fails, streamed and not: what the client sees, what it pays, what stays behind. */
let stack: TestStack;
let healersKey: string;
beforeAll(async () => {
  stack = await testStack({ plan: faultsPlan() });
  healersKey = await stack.tenant("healer", {});
});
afterAll(() => stack?.end());
afterEach(() => heal(stack, healersKey));

type Fault = Record<string, Record<string, unknown>>;
type Row = readonly [name: string, fault: Fault, model?: string | undefined];
/** With its name first, for the name of the test. */
const named = (rows: readonly Row[]) => rows.map((row) => [row[0], row] as const);
const MODES = [
  ["streamed", true],
  ["not streamed", false],
] as const;

const paid: Tokens[] = [];

/** Before the first token. */
const EARLY: readonly Row[] = [
  ["refuses the connection", { refuse: {} }],
  ["is slow with its headers", { slowHeaders: { ms: 3_000 } }, QUICK],
  ["answers 429", { status: { code: 429 } }],
  ["answers 429 with Retry-After", { status: { code: 429, retryAfterS: 7 } }],
  ["answers 500", { status: { code: 500 } }],
  ["answers 503", { status: { code: 503 } }],
  ["answers 503 with Retry-After", { status: { code: 503, retryAfterS: 7 } }],
  ["stalls", { stall: { afterTokens: 0 } }, QUICK],
  ["cuts the connection", { cut: { afterTokens: 0 } }],
  ["cuts inside the first event", { cut: { afterTokens: 0, insideEvent: true } }],
  ["ends without a word", { endWithoutDone: { afterTokens: 0 } }],
  ["sends garbage", { garbage: { afterTokens: 0 } }],
];

/** After five tokens. */
const LATE: readonly Row[] = [
  ["stalls", { stall: { afterTokens: 5 } }, QUICK],
  ["cuts the connection", { cut: { afterTokens: 5 } }],
  ["cuts inside an event", { cut: { afterTokens: 5, insideEvent: true } }],
  ["ends without [DONE] and without a finish reason", { endWithoutDone: { afterTokens: 5 } }],
  ["sends garbage", { garbage: { afterTokens: 5 } }],
  ["sends an error frame", { engineError: { afterTokens: 5 } }],
];

/** One request while `regions` have the fault, and what was charged for it. */
async function broken(regions: readonly string[], [, fault, model]: Row, stream: boolean) {
  const { marker, prompt } = newCase();
  for (const region of regions) await faultRegion(stack, region, fault, marker);
  const meter = await meterFrom(stack);
  const ask: Ask = { prompt, stream, ...(model === undefined ? {} : { model }) };
  const seen = await chat(stack, ask);
  expect(await stillHeld(stack)).toEqual([]);
  const entries = await entriesOf(stack, seen.headers.get("x-request-id") ?? "");
  return { seen, entries, charged: await meter.charged() };
}

function expectComplete(seen: Seen, stream: boolean): void {
  expect(seen.error).toBeNull();
  expect(seen.status).toBe(200);
  expect(seen.finishReason).toBe("stop");
  expect(seen.text.length).toBeGreaterThan(20);
  if (stream) expect(seen.raw.trimEnd().endsWith("data: [DONE]")).toBe(true);
}

function expectPaid(charged: Tokens, entry: LedgerEntry): void {
  expect(charged).toEqual({ promptTokens: entry.promptTokens, outputTokens: entry.outputTokens });
  paid.push(charged);
}

/** A whole region has the fault, the next one serves, and the client pays for the answer that it got. */
async function nextRegionServes(row: Row, stream: boolean): Promise<void> {
  const { seen, entries, charged } = await broken(["us-east"], row, stream);
  expectComplete(seen, stream);
  expect(seen.headers.get("x-meridian-region")).toBe("eu-west");
  // Two replicas of the first region, not all three: then its neighbour.
  expect(seen.headers.get("x-meridian-attempts")).toBe("3");
  const winner = entries.find(({ replica }) => replica === "eu-west-0")!;
  expect(winner).toMatchObject({ state: "finished", aborted: false });
  expectPaid(charged, winner);
  const losers = entries.filter((entry) => entry !== winner);
  expect(losers.filter(({ state }) => state === "running" || state === "finished")).toEqual([]);
}

describe.each(MODES)("before the first token, %s", (_, stream) => {
  it.each(named(EARLY))("every replica of a region %s: the next region serves", async (_name, row) => {
    await nextRegionServes(row, stream);
  });
});

describe("after the first token, streamed", () => {
  it.each(named(LATE))("the engine %s: the client is told, and pays for what it got", async (_name, row) => {
    const { seen, entries, charged } = await broken(["us-east"], row, true);
    expect(seen.status).toBe(200);
    expect(seen.headers.get("x-meridian-attempts")).toBe("1");
    // Not every token makes text of its own.
    expect(seen.chunks).toBeGreaterThan(0);
    expect(codeOf(seen)).toBe("stream_broken");
    expect(seen.finishReason).toBeNull();
    expect(seen.raw).not.toContain("[DONE]");
    expect(seen.raw).not.toContain('"finish_reason":"');
    expect(entries).toHaveLength(1);
    if ("garbage" in row[1]) {
      // The ledger counts a frame that nobody can read, and what came after it; the client pays for neither.
      expect(charged.promptTokens).toBe(entries[0]!.promptTokens);
      expect(charged.outputTokens).toBeLessThan(entries[0]!.outputTokens);
      paid.push(charged);
    } else {
      expectPaid(charged, entries[0]!);
    }
    expect(charged.outputTokens).toBeGreaterThanOrEqual(5);
  });
});

/** An error frame is what is left of an engine that died (docs/vllm.md): two of them, and the request goes no further. */
const NOT_DEAD = LATE.filter(([, fault]) => !("engineError" in fault));

describe("after the first token, not streamed", () => {
  it.each(named(NOT_DEAD))(
    "the engine %s: another makes the answer, and only that one is paid",
    async (_name, row) => {
      await nextRegionServes(row, false);
    },
  );
});

describe.each(MODES)("an engine that tells no usage, %s", (_, stream) => {
  it("is charged what came of it, and never more than it emitted", async () => {
    const { seen, entries, charged } = await broken(["us-east"], ["", { noUsage: {} }], stream);
    expectComplete(seen, stream);
    expect(seen.headers.get("x-meridian-attempts")).toBe("1");
    expect(charged.promptTokens).toBe(entries[0]!.promptTokens);
    // Without the engine's count there are only its frames, and a frame may hold more than one token.
    expect(charged.outputTokens).toBeGreaterThanOrEqual(stream ? seen.chunks : 10);
    expect(charged.outputTokens).toBeLessThanOrEqual(entries[0]!.outputTokens);
    paid.push(charged);
  });
});

describe.each(MODES)("when every region fails, %s", (_, stream) => {
  const everywhere = ["us-east", "eu-west", "ap-southeast"];
  it.each([
    ["answers 500", { status: { code: 500 } }, undefined, 502, "origin_failed", null],
    ["answers 503", { status: { code: 503 } }, undefined, 503, "server_is_overloaded", "1"],
    ["answers 429", { status: { code: 429, retryAfterS: 7 } }, undefined, 503, "server_is_overloaded", "1"],
    ["refuses the connection", { refuse: {} }, undefined, 502, "origin_failed", null],
    ["stalls", { stall: { afterTokens: 0 } }, QUICK, 502, "origin_failed", null],
  ] as const)(
    "%s: a true status, and nothing is charged",
    async (name, fault, model, status, code, retryAfter) => {
      const row: Row = [name, fault, model];
      const { seen, charged } = await broken(everywhere, row, stream);
      expect(seen.status).toBe(status);
      expect(codeOf(seen)).toBe(code);
      expect(seen.headers.get("retry-after")).toBe(retryAfter);
      expect(seen.headers.get("content-type")).toBe("application/json");
      expect(seen.headers.get("x-meridian-attempts")).toBe("3");
      const { error } = JSON.parse(seen.raw) as { error: Record<string, unknown> };
      expect(Object.keys(error).sort()).toEqual(["code", "message", "param", "type"]);
      expect(seen.raw).not.toMatch(/127\.0\.0\.1|us-east|eu-west|Simulated/);
      expect(charged).toEqual({ promptTokens: 0, outputTokens: 0 });
    },
  );
});

describe.each(MODES)("engines that die with a request, %s", (_, stream) => {
  it("two do, and then it gets a true status: it may be why", async () => {
    const row: Row = ["", { engineError: { afterTokens: 0 } }];
    const { seen, charged } = await broken(["us-east", "eu-west", "ap-southeast"], row, stream);
    expect([seen.status, codeOf(seen), seen.headers.get("x-meridian-attempts")]).toEqual([
      502,
      "origin_failed",
      "2",
    ]);
    expect(charged).toEqual({ promptTokens: 0, outputTokens: 0 });
  });
});

it("charged nothing besides, in all of this file", async () => {
  // A last report of an attempt that was given up would have come by now.
  const { totals } = await stack.usage();
  expect(totals).toMatchObject({
    promptTokens: paid.reduce((sum, { promptTokens }) => sum + promptTokens, 0),
    outputTokens: paid.reduce((sum, { outputTokens }) => sum + outputTokens, 0),
  });
});
