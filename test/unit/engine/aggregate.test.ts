import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { Aggregator, Endpoint, JsonObject } from "../../../src/engine/endpoint.ts";
import { endpointForPath } from "../../../src/engine/endpoints.ts";
import { SseParser } from "../../../src/engine/sse.ts";
import { eventsOf, fixture, fixtureJson, ORDER, recorded, run, timeless } from "./support.ts";

/** Recorded pairs: the same question answered as a stream and as one JSON. */
const PAIRS = [
  ["chat-stream-continuous-usage.sse", "chat-json.json"],
  ["completions-stream-continuous-usage.sse", "completions-json.json"],
  ["messages-stream.sse", "messages-json.json"],
  ["responses-stream.sse", "responses-json.json"],
  ["responses-stream-incomplete.sse", "responses-json-incomplete.json"],
] as const;

function endpointOf(file: string): Endpoint {
  return endpointForPath(recorded(file).request.path)!;
}

function aggregatorFor(file: string, body: JsonObject = {}): Aggregator {
  const { stream: _stream, stream_options: _options, ...asked } = recorded(file).request.body;
  return endpointOf(file).aggregator({ ...asked, ...body }, ORDER);
}

/** What differs between the two requests by itself. */
function question(file: string): unknown {
  const { stream: _stream, stream_options: _options, ...asked } = recorded(file).request.body;
  return asked;
}

describe.each(PAIRS)("%s", (stream, json) => {
  it("is the same question in both", () => {
    expect(question(stream)).toEqual(question(json));
  });

  it("becomes the engine's own JSON, field by field", () => {
    const aggregator = aggregatorFor(stream);
    const { end, text } = run(aggregator, eventsOf(fixture(stream)));
    expect([end, text]).toEqual(["complete", ""]);
    const whole = JSON.parse(JSON.stringify(aggregator.whole())) as JsonObject;
    expect(timeless(whole)).toEqual(timeless(fixtureJson(json)));
    expect(Object.keys(whole).sort()).toEqual(Object.keys(fixtureJson(json)).sort());
    expect(endpointOf(stream).wholeUsage(whole)).toEqual(aggregator.usage());
  });

  it("becomes the same however its bytes were cut", () => {
    const bytes = fixture(stream);
    const once = aggregatorFor(stream);
    run(once, eventsOf(bytes));
    fc.assert(
      fc.property(fc.array(fc.nat(bytes.length), { maxLength: 40 }), (cuts) => {
        const parser = new SseParser();
        const aggregator = aggregatorFor(stream);
        const places = [0, ...cuts.sort((a, b) => a - b), bytes.length];
        for (const [index, start] of places.slice(0, -1).entries()) {
          for (const event of parser.push(bytes.subarray(start, places[index + 1]))) aggregator.take(event);
        }
        expect(aggregator.whole()).toEqual(once.whole());
      }),
      { numRuns: 40 },
    );
  });

  it("is none while the stream is not complete", () => {
    const events = eventsOf(fixture(stream));
    const aggregator = aggregatorFor(stream);
    run(aggregator, events.slice(0, -1));
    expect(() => aggregator.whole()).toThrow();
  });

  it("can be stopped after any event, and counts what there was", () => {
    const events = eventsOf(fixture(stream));
    for (let taken = 0; taken < events.length; taken++) {
      const aggregator = aggregatorFor(stream);
      run(aggregator, events.slice(0, taken));
      expect(aggregator.stopNow()).toBe("");
      const whole = JSON.parse(JSON.stringify(aggregator.whole())) as JsonObject;
      const shown = endpointOf(stream).wholeUsage(whole);
      expect(shown?.outputTokens).toBe(aggregator.usage().outputTokens);
      expect(aggregator.take(events[taken]!)).toEqual({ forward: "", progressed: false });
    }
  });
});

describe("a stopped aggregate", () => {
  function stopped(file: string, taken: number): JsonObject {
    const aggregator = aggregatorFor(file);
    run(aggregator, eventsOf(fixture(file)).slice(0, taken));
    aggregator.stopNow();
    return aggregator.whole();
  }

  /** The text of the frames that were taken, read without the aggregator. */
  function textOf(file: string, taken: number, piece: RegExp): string {
    const frames = eventsOf(fixture(file)).slice(0, taken);
    return frames.map((event) => JSON.parse(`"${piece.exec(event.data)?.[1] ?? ""}"`)).join("");
  }

  it("says length, and carries the text so far", () => {
    const file = "chat-stream-continuous-usage.sse";
    const [choice] = stopped(file, 4).choices as JsonObject[];
    const content = textOf(file, 4, /"content":"((?:[^"\\]|\\.)*)"/);
    expect(content).not.toBe("");
    expect(choice).toMatchObject({ finish_reason: "length", message: { content } });
  });

  it("says max_tokens for messages", () => {
    const text = textOf("messages-stream.sse", 4, /_delta","text":"((?:[^"\\]|\\.)*)"/);
    expect(text).not.toBe("");
    expect(stopped("messages-stream.sse", 4)).toMatchObject({
      stop_reason: "max_tokens",
      content: [{ type: "text", text }],
    });
  });

  it("says incomplete for responses", () => {
    const text = textOf("responses-stream.sse", 6, /"delta":"((?:[^"\\]|\\.)*)"/);
    expect(text).not.toBe("");
    expect(stopped("responses-stream.sse", 6)).toMatchObject({
      status: "incomplete",
      incomplete_details: { reason: "max_output_tokens" },
      output: [{ content: [{ text }] }],
    });
  });
});

describe("reasoning", () => {
  const chunk = (delta: JsonObject, finish: string | null = null) => ({
    data: JSON.stringify({ model: "smol", choices: [{ index: 0, delta, finish_reason: finish }] }),
    event: null,
    raw: "",
  });
  const done = { data: "[DONE]", event: null, raw: "" };

  function message(...events: { data: string; event: null; raw: string }[]): unknown {
    const aggregator = aggregatorFor("chat-stream-continuous-usage.sse");
    run(aggregator, [chunk({ role: "assistant", content: "" }), ...events, done]);
    return (aggregator.whole().choices as JsonObject[])[0]?.message;
  }

  it("is joined beside the content", () => {
    expect(
      message(
        chunk({ reasoning: "a" }),
        chunk({ reasoning: "b" }),
        chunk({ content: "c" }),
        chunk({}, "stop"),
      ),
    ).toMatchObject({ reasoning: "ab", content: "c" });
  });

  it("alone leaves no content, as in the engine's own JSON; nothing at all leaves an empty one", () => {
    expect(message(chunk({ reasoning: "a" }, "length"))).toMatchObject({ reasoning: "a", content: null });
    expect(message(chunk({}, "stop"))).toMatchObject({ reasoning: null, content: "" });
  });

  it("makes a tool call that nobody offered a failure, not a lost call", () => {
    const aggregator = aggregatorFor("chat-stream-continuous-usage.sse");
    const { end } = run(aggregator, [chunk({ tool_calls: [{ index: 0 }] })]);
    expect(end).toMatchObject({ status: 502 });
  });

  it("comes before the text of a message", () => {
    const block = (type: string, value: JsonObject) => ({
      data: JSON.stringify({ type, ...value }),
      event: type,
      raw: "",
    });
    const aggregator = aggregatorFor("messages-stream.sse");
    run(aggregator, [
      block("message_start", {
        message: { id: "m", model: "smol", usage: { input_tokens: 3, output_tokens: 0 } },
      }),
      block("content_block_delta", { delta: { type: "thinking_delta", thinking: "hm" } }),
      block("content_block_delta", { delta: { type: "signature_delta", signature: "s" } }),
      block("content_block_delta", { delta: { type: "text_delta", text: "yes" } }),
      block("message_delta", {
        delta: { stop_reason: "end_turn" },
        usage: { input_tokens: 3, output_tokens: 4 },
      }),
      block("message_stop", {}),
    ]);
    expect(aggregator.whole().content).toEqual([
      { type: "thinking", thinking: "hm", signature: "s" },
      { type: "text", text: "yes" },
    ]);
  });
});
