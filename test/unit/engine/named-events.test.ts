import { describe, expect, it } from "vitest";
import type { Endpoint, JsonObject } from "../../../src/engine/endpoint.ts";
import { messages } from "../../../src/engine/endpoints/messages.ts";
import { responses } from "../../../src/engine/endpoints/responses.ts";
import type { SseEvent } from "../../../src/engine/sse.ts";
import { eventsOf, fixture, fixtureText, framesOf, ORDER, run } from "./support.ts";

/** The two endpoints whose events have names and whose usage comes at the end. */

const MESSAGES: JsonObject = {
  model: "smol",
  max_tokens: 12,
  messages: [{ role: "user", content: "hi" }],
  stream: true,
};
const RESPONSES: JsonObject = { model: "smol", input: "hi", stream: true };

function read(endpoint: Endpoint, body: JsonObject, events: readonly SseEvent[]) {
  const reader = endpoint.reader(body, ORDER);
  return { reader, ...run(reader, events) };
}

/** What the engine itself says at the end of a recorded stream. */
function told(file: string): Record<string, number> {
  for (const one of framesOf(fixtureText(file)).reverse()) {
    if (typeof one === "string") continue;
    const holder = (one.response ?? one) as JsonObject;
    if (holder.usage) return holder.usage as Record<string, number>;
  }
  throw new Error(`${file} tells no usage`);
}

function deltas(events: readonly SseEvent[]): number {
  return events.filter((event) => event.event?.endsWith("delta") && event.event !== "message_delta").length;
}

function frame(event: string, value: object): SseEvent {
  const data = JSON.stringify(value);
  return { data, event, raw: `event: ${event}\ndata: ${data}\n\n` };
}

describe("/v1/messages", () => {
  it.each([
    ["messages-stream.sse"],
    ["messages-stream-max-tokens.sse"],
    ["messages-stream-stop-sequence.sse"],
    ["messages-stream-tool.sse"],
  ])("%s goes through untouched and is counted", (file) => {
    const { reader, text, end } = read(messages, MESSAGES, eventsOf(fixture(file)));
    expect(end).toBe("complete");
    expect(text).toBe(fixtureText(file));
    const { input_tokens: promptTokens, output_tokens: outputTokens } = told(file);
    expect(reader.usage()).toEqual({ promptTokens, cachedTokens: 0, outputTokens });
    expect(outputTokens).toBeGreaterThan(0);
  });

  it("counts the whole prompt, cached or not", () => {
    const file = "messages-stream-cached-prompt.sse";
    const started = framesOf(fixtureText(file))[0] as { message: { usage: { input_tokens: number } } };
    const { reader } = read(messages, MESSAGES, eventsOf(fixture(file)));
    const usage = reader.usage();
    expect(usage.promptTokens).toBe(started.message.usage.input_tokens);
    expect(usage.cachedTokens).toBeGreaterThan(0);
  });

  it("counts deltas until the engine tells", () => {
    const reader = messages.reader(MESSAGES, ORDER);
    const events = eventsOf(fixture("messages-stream.sse"));
    for (const [index, event] of events.slice(0, -2).entries()) {
      reader.take(event);
      expect(reader.usage().outputTokens).toBe(deltas(events.slice(0, index + 1)));
    }
    for (const event of events.slice(-2)) reader.take(event);
    expect(reader.usage().outputTokens).toBe(told("messages-stream.sse").output_tokens);
    expect(reader.promptKnown).toBe(true);
  });

  it("knows a crash, and sends nothing of it on", () => {
    const events = eventsOf(fixture("crash-messages-stream.sse"));
    const { reader, text, end } = read(messages, MESSAGES, events);
    expect(end).toMatchObject({ status: 500 });
    expect(text).not.toContain("error");
    expect(reader.usage().outputTokens).toBe(deltas(events));
    expect(reader.usage().promptTokens).toBeGreaterThan(0);
  });

  it.each([
    [
      "an end without a reason",
      [frame("message_delta", { type: "message_delta", delta: { stop_reason: null } })],
    ],
    ["a stop before the end", [frame("message_stop", { type: "message_stop" })]],
    ["a start without a message", [frame("message_start", { type: "message_start" })]],
    ["what is no JSON", [{ data: "{", event: "message_start", raw: "x" }]],
  ])("%s is the engine's failure", (_, events) => {
    expect(read(messages, MESSAGES, events)).toMatchObject({ end: { status: 502 }, text: "" });
  });

  it("passes pings and comments on, which are no progress", () => {
    const ping = frame("ping", { type: "ping" });
    const comment = { data: "", event: null, raw: ": keep-alive\n\n", comment: true };
    const { text, progressed } = read(messages, MESSAGES, [ping, comment]);
    expect([text, progressed]).toEqual([ping.raw + comment.raw, 0]);
  });

  it("does not count a signature", () => {
    const delta = { type: "signature_delta", signature: "abc" };
    const event = frame("content_block_delta", { type: "content_block_delta", index: 0, delta });
    expect(read(messages, MESSAGES, [event]).reader.usage().outputTokens).toBe(0);
  });

  it("names the model as the client did", () => {
    const body = { ...MESSAGES, model: "mine" };
    const { text } = read(messages, body, eventsOf(fixture("messages-stream.sse")));
    expect(text).toBe(fixtureText("messages-stream.sse").replace('"model":"smol"', '"model":"mine"'));
  });
});

describe("/v1/responses", () => {
  it.each([["responses-stream.sse"], ["responses-stream-incomplete.sse"], ["responses-stream-tool.sse"]])(
    "%s goes through untouched and is counted",
    (file) => {
      const { reader, text, end } = read(responses, RESPONSES, eventsOf(fixture(file)));
      expect(end).toBe("complete");
      expect(text).toBe(fixtureText(file));
      const { input_tokens: promptTokens, output_tokens: outputTokens } = told(file);
      expect(reader.usage()).toEqual({ promptTokens, cachedTokens: 0, outputTokens });
      expect(reader.promptKnown).toBe(true);
    },
  );

  it("holds the opening events until the answer begins: they come before the first token", () => {
    const reader = responses.reader(RESPONSES, ORDER);
    const steps = eventsOf(fixture("responses-stream.sse")).map((event) => reader.take(event));
    expect(steps.slice(0, 3).map((step) => [step.forward !== "", step.progressed])).toEqual([
      [false, false],
      [false, false],
      [true, true],
    ]);
    expect(steps[2]?.forward).toContain("response.created");
  });

  it("counts deltas until the engine tells", () => {
    const reader = responses.reader(RESPONSES, ORDER);
    const events = eventsOf(fixture("responses-stream.sse"));
    for (const event of events.slice(0, -1)) reader.take(event);
    expect([reader.usage().outputTokens, reader.promptKnown]).toEqual([deltas(events), false]);
    reader.take(events.at(-1)!);
    const exact = told("responses-stream.sse").output_tokens;
    expect([reader.usage().outputTokens, reader.promptKnown]).toEqual([exact, true]);
  });

  it("does not take a cut for an end", () => {
    const events = eventsOf(fixture("crash-responses-stream.sse"));
    const { reader, end } = read(responses, RESPONSES, events);
    expect(end).toBeUndefined();
    expect(reader.usage().outputTokens).toBe(deltas(events));
  });

  it.each([
    ["an error event", frame("error", { type: "error", message: "no", code: null })],
    [
      "a failed response",
      frame("response.failed", { type: "response.failed", response: { status: "failed" } }),
    ],
    [
      "a cancelled response",
      frame("response.completed", { type: "response.completed", response: { status: "cancelled" } }),
    ],
    ["a [DONE] too early", { data: "[DONE]", event: null, raw: "data: [DONE]\n\n" }],
    ["an OpenAI error frame", frame("error", { error: { message: "no", code: 500 } })],
  ])("%s is the engine's failure", (_, event) => {
    const { end, text } = read(responses, RESPONSES, [event]);
    expect(end).toHaveProperty("engineError");
    expect(text).toBe("");
  });

  it("names the model as the client did, in every response object", () => {
    const body = { ...RESPONSES, model: "mine" };
    const { text } = read(responses, body, eventsOf(fixture("responses-stream.sse")));
    expect(text).toBe(fixtureText("responses-stream.sse").replaceAll('"model":"smol"', '"model":"mine"'));
  });
});
