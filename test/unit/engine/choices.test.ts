import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { JsonObject } from "../../../src/engine/endpoint.ts";
import { chat } from "../../../src/engine/endpoints/chat.ts";
import { completions } from "../../../src/engine/endpoints/completions.ts";
import { withoutUsage } from "../../../src/engine/frames.ts";
import { eventsOf, fixture, fixtureText, framesOf, ORDER, run, timeless } from "./support.ts";

const BODY: JsonObject = { model: "smol", messages: [{ role: "user", content: "hi" }], stream: true };
const PROMPT: JsonObject = { model: "smol", prompt: "The capital of France is", stream: true };
const USAGE = { include_usage: true };
const CONTINUOUS = { include_usage: true, continuous_usage_stats: true };

function chatRun(file: string, body: JsonObject = {}) {
  const reader = chat.reader({ ...BODY, ...body }, ORDER);
  return { reader, ...run(reader, eventsOf(fixture(file))) };
}

function textRun(text: string, body: JsonObject = {}) {
  const reader = chat.reader({ ...BODY, ...body }, ORDER);
  return { reader, ...run(reader, eventsOf(new TextEncoder().encode(text))) };
}

describe("what the client did not ask for", () => {
  it("sees no usage at all without stream_options, as vLLM answers", () => {
    const { text, end } = chatRun("chat-stream-continuous-usage.sse");
    expect(end).toBe("complete");
    expect(timeless(framesOf(text))).toEqual(timeless(framesOf(fixtureText("chat-stream-no-usage.sse"))));
  });

  it("sees one usage frame with include_usage", () => {
    const { text } = chatRun("chat-stream-continuous-usage.sse", { stream_options: USAGE });
    expect(timeless(framesOf(text))).toEqual(timeless(framesOf(fixtureText("chat-stream-usage.sse"))));
  });

  it("sees every byte with continuous_usage_stats", () => {
    for (const file of ["chat-stream-continuous-usage.sse", "chat-stream-keep-alive.sse"]) {
      expect(chatRun(file, { stream_options: CONTINUOUS }).text).toBe(fixtureText(file));
    }
  });

  it("holds for completions too", () => {
    const events = eventsOf(fixture("completions-stream-continuous-usage.sse"));
    const { text } = run(completions.reader({ ...PROMPT, stream_options: USAGE }, ORDER), events);
    expect(timeless(framesOf(text))).toEqual(timeless(framesOf(fixtureText("completions-stream.sse"))));
    const bare = run(completions.reader(PROMPT, ORDER), events);
    expect(bare.text).not.toContain('"usage"');
    expect(bare.end).toBe("complete");
  });

  it("cuts usage out of any frame without touching the rest", () => {
    const count = fc.nat(1e9);
    const details = fc.option(fc.record({ cached_tokens: fc.option(count) }));
    const usage = fc.record({
      prompt_tokens: count,
      completion_tokens: count,
      prompt_tokens_details: details,
    });
    fc.assert(
      fc.property(fc.string(), usage, fc.boolean(), (content, counts, more) => {
        const tricky = `${content},"usage":{"a":{}} ${content}`;
        const front = { id: "a", model: tricky, choices: [{ index: 0, delta: { content: tricky } }] };
        const back = more ? { prompt_token_ids: null, prompt_text: tricky } : {};
        const raw = `data: ${JSON.stringify({ ...front, usage: counts, ...back })}\n\n`;
        expect(withoutUsage(raw)).toBe(`data: ${JSON.stringify({ ...front, ...back })}\n\n`);
      }),
    );
  });

  it("writes a frame anew where the text is not as vLLM writes it", () => {
    const frame = `data: {"choices": [{"index": 0, "delta": {"content": "x"}}], "usage": {"prompt_tokens": 3, "completion_tokens": 1}, "model": "smol"}\n\n`;
    const { text, reader } = textRun(frame);
    expect(text).toBe('data: {"choices":[{"index":0,"delta":{"content":"x"}}],"model":"smol"}\n\n');
    expect(reader.usage()).toEqual({ promptTokens: 3, cachedTokens: 0, outputTokens: 1 });
  });
});

describe("counting", () => {
  it("follows the engine's own count frame by frame", () => {
    const reader = chat.reader(BODY, ORDER);
    expect(reader.promptKnown).toBe(false);
    const seen: number[] = [];
    for (const event of eventsOf(fixture("chat-stream-emoji.sse"))) {
      reader.take(event);
      expect(reader.promptKnown).toBe(true);
      seen.push(reader.usage().outputTokens);
    }
    const told = framesOf(fixtureText("chat-stream-emoji.sse"))
      .filter((frame): frame is JsonObject => typeof frame !== "string")
      .map((frame) => (frame.usage as JsonObject).completion_tokens);
    expect(seen.slice(0, told.length)).toEqual(told);
    expect(Math.max(...seen)).toBeGreaterThan(5);
  });

  it("adds up choices and prompts", () => {
    const sums = (framesOf(fixtureText("chat-stream-n2.sse")).at(-2) as JsonObject).usage as JsonObject;
    expect(chatRun("chat-stream-n2.sse", { n: 2 }).reader.usage()).toEqual({
      promptTokens: sums.prompt_tokens,
      cachedTokens: 0,
      outputTokens: sums.completion_tokens,
    });
    const prompts = { ...PROMPT, prompt: ["One", "Two and more"] };
    const reader = completions.reader(prompts, ORDER);
    const events = eventsOf(fixture("completions-stream-two-prompts.sse"));
    expect(run(reader, events).end).toBe("complete");
    const last = framesOf(fixtureText("completions-stream-two-prompts.sse")).at(-2) as JsonObject;
    const usage = last.usage as JsonObject;
    expect(reader.usage()).toMatchObject({
      promptTokens: usage.prompt_tokens,
      outputTokens: usage.completion_tokens,
    });
    expect(reader.promptKnown).toBe(true);
  });

  it("knows the prompt of many only when all prompts were told", () => {
    const reader = completions.reader({ ...PROMPT, prompt: ["a", "b"] }, ORDER);
    const frame = (index: number, tokens: number) =>
      `data: {"model":"smol","choices":[{"index":${index},"text":"x","finish_reason":null}],"usage":{"prompt_tokens":${tokens},"completion_tokens":1}}\n\n`;
    run(reader, eventsOf(new TextEncoder().encode(frame(1, 5))));
    expect([reader.promptKnown, reader.usage().promptTokens]).toEqual([false, 5]);
    run(reader, eventsOf(new TextEncoder().encode(frame(0, 3))));
    expect([reader.promptKnown, reader.usage().promptTokens]).toEqual([true, 8]);
  });

  it("tells cached tokens where the engine does", () => {
    const usage = chatRun("chat-stream-cached-prompt.sse").reader.usage();
    expect(usage.cachedTokens).toBeGreaterThan(0);
    expect(usage.cachedTokens).toBeLessThanOrEqual(usage.promptTokens);
  });

  it("counts frames where an engine tells no usage", () => {
    const { reader, progressed } = chatRun("chat-stream-no-usage.sse");
    expect(reader.usage().outputTokens).toBe(progressed - 1);
    expect(reader.promptKnown).toBe(false);
  });
});

describe("progress", () => {
  it("is a frame with a choice: not a comment, not usage alone, not [DONE]", () => {
    const file = "chat-stream-keep-alive.sse";
    const events = eventsOf(fixture(file));
    const reader = chat.reader({ ...BODY, stream_options: CONTINUOUS }, ORDER);
    for (const event of events) {
      const expected = event.data.includes('"index":');
      expect([event.raw, reader.take(event).progressed]).toEqual([event.raw, expected]);
    }
    expect(events.filter((event) => event.comment).length).toBeGreaterThan(0);
  });
});

describe("the end", () => {
  it.each([
    ["crash-chat-stream.sse", chat, BODY],
    ["crash-completions-stream.sse", completions, PROMPT],
  ])("%s is the engine's failure, and its [DONE] goes nowhere", (file, endpoint, body) => {
    const reader = endpoint.reader(body, ORDER);
    const events = eventsOf(fixture(file));
    const { text, end } = run(reader, events);
    expect(end).toMatchObject({ status: 500 });
    expect(text).not.toContain("[DONE]");
    expect(text).not.toContain("error");
    expect(events.map((event) => reader.take(event).forward).join("")).toBe("");
    expect(reader.usage().outputTokens).toBeGreaterThan(0);
  });

  it("takes no [DONE] for an end before every choice finished", () => {
    const events = eventsOf(fixture("chat-stream-n2.sse"));
    const whole = run(chat.reader({ ...BODY, n: 3 }, ORDER), events);
    expect(whole.end).toMatchObject({ status: 502 });
    expect(whole.text).not.toContain("[DONE]");
    const last = events.findLastIndex((event) => event.data.includes('"finish_reason":"'));
    const short = run(
      chat.reader({ ...BODY, n: 2 }, ORDER),
      events.filter((_, index) => index !== last),
    );
    expect(short.end).toMatchObject({ status: 502 });
  });

  it.each([
    ["not JSON", "data: {\n\n"],
    ["no object", "data: [1]\n\n"],
    ["no choices", 'data: {"id":"x"}\n\n'],
    ["a choice that is no object", 'data: {"choices":[3]}\n\n'],
    ["a choice too many", 'data: {"choices":[{"index":1,"delta":{}}]}\n\n'],
    ["a negative choice", 'data: {"choices":[{"index":-1,"delta":{}}]}\n\n'],
    ["an aborted choice", 'data: {"choices":[{"index":0,"delta":{},"finish_reason":"abort"}]}\n\n'],
    ["a bare [DONE]", "data: [DONE]\n\n"],
  ])("%s is the engine's failure", (_, text) => {
    const result = textRun(text);
    expect(result.end).toMatchObject({ status: 502 });
    expect(result.text).toBe("");
  });

  it("calls garbage what the parser calls garbage", () => {
    const reader = chat.reader(BODY, ORDER);
    expect(reader.take({ data: "", event: null, raw: "", garbage: true }).end).toMatchObject({ status: 502 });
  });
});

describe("the model's name", () => {
  it("is the one that the client asked for, in every frame", () => {
    const { text } = chatRun("chat-stream-continuous-usage.sse", {
      model: 'my "own"',
      stream_options: USAGE,
    });
    const frames = framesOf(text).filter((frame): frame is JsonObject => typeof frame !== "string");
    expect(new Set(frames.map((frame) => frame.model))).toEqual(new Set(['my "own"']));
    expect(text).not.toContain("smol");
  });
});
