import fc from "fast-check";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { type Replica, startReplica } from "../../../sim/origin/replica.ts";
import { STOP_ALL } from "../../support/gate-edge.ts";
import { type Call, eventually, type Rig, startRig } from "../../support/gate-rig.ts";

/** The gate before the simulated vLLM: what is billed is what the replica really received and emitted. */

let replica: Replica;
let rig: Rig;
beforeEach(async () => {
  replica = await startReplica({ id: "r0", speed: 2 });
  rig = await startRig({
    replicas: { static: [{ id: "r0", url: replica.url }] },
    concurrencyPerReplica: 256,
  });
});
afterEach(async () => {
  await rig.close();
  await replica.close();
});

const words = (count: number) => Array.from({ length: count }, (_, index) => `word${index % 17}`).join(" ");
const chatMessages = (size: number) => [{ role: "user", content: words(size) }];

const CALLS: Record<string, (size: number, stream: boolean) => { path: string; body: object }> = {
  chat: (size, stream) => ({
    path: "/v1/chat/completions",
    body: { model: "m", messages: chatMessages(size), stream },
  }),
  "chat, two choices": (size, stream) => ({
    path: "/v1/chat/completions",
    body: { model: "m", messages: chatMessages(size), stream, n: 2 },
  }),
  completions: (size, stream) => ({
    path: "/v1/completions",
    body: { model: "m", prompt: words(size), stream, max_tokens: 40 },
  }),
  responses: (size, stream) => ({
    path: "/v1/responses",
    body: { model: "m", input: words(size), instructions: "Be brief.", stream },
  }),
  messages: (size, stream) => ({
    path: "/v1/messages",
    body: { model: "m", system: "Be brief.", messages: chatMessages(size), stream, max_tokens: 40 },
  }),
};

async function ordered(name: string, size: number, stream: boolean): Promise<Call> {
  const { path, body } = CALLS[name]!(size, stream);
  const order = { path, servedModel: "sim-chat", maxOutputTokens: 40, estimatedPromptTokens: 1 };
  const call = await rig.call(body, order);
  names.set(call.order.requestId, name);
  return call;
}

/**
 * Engines count as they go for these. Of an aborted stream of the others only the frames with text are seen; and of
 * two choices the engine may have counted a token that had no frame yet.
 */
const COUNTED_EXACTLY = new Set(["chat", "completions"]);
const names = new Map<string, string>();

async function billMatches(call: Call): Promise<void> {
  const { usage, outcome, estimated } = await rig.final(call.order);
  const entry = replica.ledger.get(call.order.requestId)!;
  expect({ promptTokens: usage.promptTokens, estimated }).toEqual({ promptTokens: entry.promptTokens });
  expect(usage.outputTokens).toBeLessThanOrEqual(entry.outputTokens);
  if (outcome === "complete" || COUNTED_EXACTLY.has(names.get(call.order.requestId)!)) {
    expect(usage.outputTokens).toBe(entry.outputTokens);
  }
}

describe("bills and the replica's own ledger agree", () => {
  test("for complete answers", async () => {
    const calls = await Promise.all(
      Object.keys(CALLS).flatMap((name) => [ordered(name, 30, true), ordered(name, 50, false)]),
    );
    for (const call of calls) {
      expect((await call.head).statusCode).toBe(200);
      await call.rest;
      await billMatches(call);
      expect((await rig.final(call.order)).outcome).toBe("complete");
    }
  });

  test("for clients that leave at any time", async () => {
    const leaving = fc.record({
      name: fc.constantFrom(...Object.keys(CALLS)),
      size: fc.integer({ min: 1, max: 400 }),
      stream: fc.boolean(),
      afterMs: fc.integer({ min: 0, max: 150 }),
    });
    await fc.assert(
      fc.asyncProperty(fc.array(leaving, { minLength: 10, maxLength: 20 }), async (plans) => {
        const calls = await Promise.all(
          plans.map(async ({ name, size, stream, afterMs }) => {
            const call = await ordered(name, size, stream);
            await new Promise((resolve) => setTimeout(resolve, afterMs));
            call.leave();
            return call;
          }),
        );
        await eventually(() => rig.gate.open === 0);
        for (const call of calls) {
          // Who left before the engine was called has no entry, and pays nothing.
          if (replica.ledger.get(call.order.requestId) !== undefined) await billMatches(call);
          for (const { usage } of rig.edge.finals(call.order.ticket)) {
            expect(usage.promptTokens).toBe(replica.ledger.get(call.order.requestId)?.promptTokens ?? 0);
          }
        }
      }),
      { numRuns: 6, endOnFailure: true },
    );
  }, 30_000);

  test("for streams that a budget stops", async () => {
    replica.setFaults({ slow: { factor: 10 } });
    rig.edge.reply = STOP_ALL;
    const calls = await Promise.all([ordered("chat", 20, true), ordered("completions", 20, false)]);
    for (const call of calls) {
      expect((await call.rest).text).toMatch(/"finish_reason": ?"length"/);
      expect((await rig.final(call.order)).outcome).toBe("stopped");
      await billMatches(call);
    }
  }, 15_000);

  test.each([
    ["cut", { cut: { afterTokens: 5 } }],
    ["cut inside an event", { cut: { afterTokens: 5, insideEvent: true } }],
    ["an error frame and [DONE]", { engineError: { afterTokens: 5 } }],
    ["a clean end without a finish", { endWithoutDone: { afterTokens: 5 } }],
    ["garbage", { garbage: { afterTokens: 5 } }],
    ["a death", { die: { afterTokens: 5 } }],
  ])("for streams that break: %s", async (name, faults) => {
    replica.setFaults(faults);
    const call = await ordered("chat", 20, true);
    const { text } = await call.rest;
    expect(text).toContain("stream_broken");
    expect(text).not.toContain("[DONE]");
    expect((await rig.final(call.order)).outcome).toBe("failed");
    // The simulated engine counts the token inside its garbage, which nobody can read.
    if (name !== "garbage") await billMatches(call);
  });

  test("for a stream that stalls", async () => {
    replica.setFaults({ stall: { afterTokens: 3 } });
    const { path, body } = CALLS.chat!(20, true);
    const call = await rig.call(body, { path, servedModel: "sim-chat", tokenGapTimeoutMs: 400 });
    expect((await call.rest).text).toContain("stream_broken");
    expect((await rig.final(call.order)).outcome).toBe("token_gap_timeout");
    await billMatches(call);
  });
});

test("every endpoint of the data plane works through the gate", async () => {
  const input = "Tell me about edges.";
  const bodies: [path: string, body: object][] = [
    ["/v1/chat/completions", { model: "m", messages: chatMessages(3) }],
    ["/v1/completions", { model: "m", prompt: input }],
    ["/v1/responses", { model: "m", input }],
    ["/v1/messages", { model: "m", messages: chatMessages(3), max_tokens: 20 }],
    ["/v1/embeddings", { model: "m", input }],
    ["/v1/rerank", { model: "m", query: input, documents: ["a", "b"] }],
    ["/v1/score", { model: "m", text_1: input, text_2: "b" }],
    ["/v1/tokenize", { model: "m", prompt: input }],
  ];
  for (const [path, body] of bodies) {
    const generates = /chat|completions|responses|messages/.test(path);
    const servedModel = generates || path === "/v1/tokenize" ? "sim-chat" : "sim-embed";
    for (const stream of generates ? [true, false] : [undefined]) {
      const call = await rig.call(
        { ...body, stream },
        { path, servedModel, maxOutputTokens: generates ? 20 : null },
      );
      const head = await call.head;
      const { text, cut } = await call.rest;
      expect([path, head.statusCode, cut, text.slice(0, head.statusCode === 200 ? 0 : 300)]).toEqual([
        path,
        200,
        false,
        "",
      ]);
      expect((await rig.final(call.order)).outcome).toBe("complete");
      const entry = replica.ledger.get(call.order.requestId);
      if (entry !== undefined) await billMatches(call);
    }
  }
});
