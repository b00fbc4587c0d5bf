import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { canonical, eventsIn, isWhole, toldUsage, whyNotCacheable } from "../../../src/engine/cacheable.ts";
import type { JsonObject } from "../../../src/engine/endpoint.ts";

describe("which requests", () => {
  it.each<[Parameters<typeof whyNotCacheable>, string | null]>([
    [["chat", { temperature: 0 }, false], null],
    [["chat", {}, false], "sampled"],
    [["chat", { temperature: 0.1 }, false], "sampled"],
    [["chat", { temperature: 0.1 }, true], null],
    [["chat", { temperature: 0, tools: [{}] }, true], "tools"],
    [["chat", { temperature: 0, tools: [] }, false], null],
    [["embeddings", {}, false], null],
    [["rerank", {}, false], null],
    [["tokenize", {}, true], "endpoint"],
  ])("%j: %s", (given, why) => {
    expect(whyNotCacheable(...given)).toBe(why);
  });

  it("bodies that say the same have one name, and no others have", () => {
    const shuffled = (value: unknown): unknown => {
      if (Array.isArray(value)) return value.map(shuffled);
      if (typeof value !== "object" || value === null) return value;
      return Object.fromEntries(
        Object.entries(value)
          .map(([name, inner]) => [name, shuffled(inner)])
          .reverse(),
      );
    };
    fc.assert(
      fc.property(fc.jsonValue(), fc.jsonValue(), (one, other) => {
        expect(canonical(shuffled(one))).toBe(canonical(one));
        expect(JSON.parse(canonical(one))).toEqual(JSON.parse(JSON.stringify(one)));
        const same = canonical(one) === canonical(other);
        if (same) expect(JSON.parse(JSON.stringify(other))).toEqual(JSON.parse(JSON.stringify(one)));
      }),
    );
  });
});

const chunk = (delta: JsonObject, finish: string | null) =>
  `data: ${JSON.stringify({ id: "x", choices: [{ index: 0, delta, finish_reason: finish }] })}\n\n`;

describe("which answers are whole", () => {
  const stream = chunk({ content: "a" }, null) + chunk({}, "stop");

  it("a stream that ended properly, and no beginning of it", () => {
    const whole = `${stream}data: [DONE]\n\n`;
    expect(isWhole("chat", true, whole)).toBe(true);
    for (let end = 0; end < whole.length - 3; end++)
      expect(isWhole("chat", true, whole.slice(0, end))).toBe(false);
  });

  it.each([
    ["cut short by a limit", `${chunk({ content: "a" }, "length")}data: [DONE]\n\n`],
    ["aborted", `${chunk({ content: "a" }, "abort")}data: [DONE]\n\n`],
    ["with an error at its end", `${stream}data: {"error":{"message":"broken"}}\n\ndata: [DONE]\n\n`],
  ])("not one that was %s", (_, text) => {
    expect(isWhole("chat", true, text)).toBe(false);
  });

  it("what an answer says does not count as how it ended", () => {
    const said = '"finish_reason":"length" and event: error and data: {"error"';
    expect(isWhole("chat", true, `${chunk({ content: said }, "stop")}data: [DONE]\n\n`)).toBe(true);
    const json = { choices: [{ message: { content: said }, finish_reason: "stop" }] };
    expect(isWhole("chat", false, JSON.stringify(json))).toBe(true);
  });

  it("the other endpoints' own ends", () => {
    const named = (event: string, data: object) => `event: ${event}\ndata: ${JSON.stringify(data)}\n\n`;
    const done = { type: "response.completed", response: { status: "completed" } };
    expect(isWhole("responses", true, named("response.completed", done))).toBe(true);
    const short = { type: "response.incomplete", response: { status: "incomplete" } };
    expect(isWhole("responses", true, named("response.incomplete", short))).toBe(false);
    expect(isWhole("messages", true, named("message_stop", { type: "message_stop" }))).toBe(true);
    const error = named("error", { type: "error", error: { type: "api_error" } });
    expect(isWhole("messages", true, error + named("message_stop", {}))).toBe(false);
    expect(isWhole("messages", false, JSON.stringify({ stop_reason: "max_tokens" }))).toBe(false);
    expect(isWhole("embeddings", false, JSON.stringify({ data: [] }))).toBe(true);
    expect(isWhole("chat", false, '{"choices":[')).toBe(false);
  });
});

describe("what it took", () => {
  it("as the answer tells it, in each API's words", () => {
    const usage = { prompt_tokens: 3, completion_tokens: 4, total_tokens: 7 };
    expect(toldUsage(false, JSON.stringify({ usage }))).toEqual({ prompt: 3, output: 4 });
    const input = { usage: { input_tokens: 3, output_tokens: 4 } };
    expect(toldUsage(false, JSON.stringify(input))).toEqual({ prompt: 3, output: 4 });
    const stream = `${chunk({}, "stop")}data: ${JSON.stringify({ choices: [], usage })}\n\ndata: [DONE]\n\n`;
    expect(toldUsage(true, stream)).toEqual({ prompt: 3, output: 4 });
    const response = `event: response.completed\ndata: ${JSON.stringify({ response: input })}\n\n`;
    expect(toldUsage(true, response)).toEqual({ prompt: 3, output: 4 });
    expect(toldUsage(true, chunk({ content: "no usage" }, "stop"))).toBeNull();
    expect(eventsIn(chunk({ content: "a" }, null) + chunk({}, "stop"))).toBe(2);
  });
});
