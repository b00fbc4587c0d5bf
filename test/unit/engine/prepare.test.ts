import { describe, expect, it } from "vitest";
import type { JsonObject, Prepared } from "../../../src/engine/endpoint.ts";
import { endpointForPath } from "../../../src/engine/endpoints.ts";
import { SAMPLES } from "./bodies.ts";
import { ORDER } from "./support.ts";

function prepare(path: string, body: JsonObject, maxOutputTokens: number | null = null): Prepared {
  return endpointForPath(path)!.prepare(body, { ...ORDER, servedModel: "served", maxOutputTokens });
}

const CONTINUOUS = { include_usage: true, continuous_usage_stats: true };
const CHAT = "/v1/chat/completions";
const TEXT = "/v1/completions";
const ASK = { model: "m", messages: [{ role: "user", content: "hi" }] };
const PROMPT = { model: "m", prompt: "hi" };

describe.each(SAMPLES)("$path", ({ path, fields, least, more }) => {
  const body = { ...least, ...more };

  it("sends what passes and nothing else", () => {
    const engine = prepare(path, body).body;
    const added = path === "/v1/tokenize" ? [] : ["cache_salt"];
    if (path === "/v1/responses") added.push("store");
    const renamed = path === CHAT ? ["max_tokens"] : [];
    const expected = Object.keys(fields.passes).filter(
      (name) => Object.hasOwn(body, name) && !renamed.includes(name),
    );
    expect(Object.keys(engine).sort()).toEqual([...expected, ...added].sort());
    const given: JsonObject = { ...body, model: "served", cache_salt: ORDER.cacheSalt, store: false };
    for (const name of Object.keys(engine)) {
      if (name !== "stream_options") expect([name, engine[name]]).toEqual([name, given[name]]);
    }
  });

  it("leaves the client's body as it was, and sends no null", () => {
    const nulls = Object.fromEntries(Object.keys(more).map((name) => [name, null]));
    const before: JsonObject = structuredClone({ ...nulls, ...least });
    const after = structuredClone(before);
    const engine = prepare(path, after, 5).body;
    expect(after).toEqual(before);
    expect(engine).not.toBe(after);
    expect(Object.values(engine)).not.toContain(null);
  });

  it("gives the engine the served name and the tenant's salt", () => {
    const engine = prepare(path, least).body;
    expect(engine.model).toBe("served");
    expect(engine.cache_salt).toBe(path === "/v1/tokenize" ? undefined : ORDER.cacheSalt);
  });
});

describe("the output limit", () => {
  it.each<[string, JsonObject, number | null, JsonObject]>([
    [CHAT, ASK, null, {}],
    [CHAT, ASK, 7, { max_completion_tokens: 7 }],
    [CHAT, { ...ASK, max_tokens: 5 }, null, { max_completion_tokens: 5 }],
    [CHAT, { ...ASK, max_tokens: 5 }, 7, { max_completion_tokens: 5 }],
    [CHAT, { ...ASK, max_tokens: 9, max_completion_tokens: 8 }, 7, { max_completion_tokens: 7 }],
    [CHAT, { ...ASK, max_tokens: 3, max_completion_tokens: 8 }, null, { max_completion_tokens: 8 }],
    [CHAT, { ...ASK, max_tokens: 9, min_tokens: 8 }, 7, { max_completion_tokens: 7, min_tokens: 7 }],
    [TEXT, PROMPT, null, { max_tokens: 16 }],
    [TEXT, PROMPT, 7, { max_tokens: 7 }],
    [TEXT, PROMPT, 70, { max_tokens: 16 }],
    ["/v1/responses", { model: "m", input: "hi" }, 7, { max_output_tokens: 7 }],
    ["/v1/responses", { model: "m", input: "hi" }, null, {}],
    ["/v1/messages", { ...ASK, max_tokens: 9 }, 7, { max_tokens: 7 }],
  ])("%s %j with %j", (path, body, ordered, expected) => {
    const engine = prepare(path, body, ordered).body;
    const limits = Object.entries(engine).filter(([name]) => /^(max|min)_/.test(name));
    expect(Object.fromEntries(limits)).toEqual(expected);
  });

  it("keeps thinking below it, as the engine demands", () => {
    const thinking = { type: "enabled", budget_tokens: 2_000 };
    const body = { ...ASK, max_tokens: 4_000, thinking };
    expect(prepare("/v1/messages", body, 3_000).body.thinking).toEqual(thinking);
    expect(prepare("/v1/messages", body, 2_000).body.thinking).toEqual({ type: "adaptive" });
  });
});

describe("the mode", () => {
  const tool = { type: "function", function: { name: "f" } };
  it.each<[string, JsonObject, string]>([
    [CHAT, { ...ASK, stream: true }, "stream"],
    [CHAT, { ...ASK, stream: true, n: 2, tools: [tool], logprobs: true }, "stream"],
    [CHAT, ASK, "aggregate"],
    [CHAT, { ...ASK, stream: false, n: 1, response_format: { type: "text" } }, "aggregate"],
    [CHAT, { ...ASK, n: 2 }, "whole"],
    [CHAT, { ...ASK, tools: [tool] }, "whole"],
    [CHAT, { ...ASK, logprobs: true }, "whole"],
    [CHAT, { ...ASK, include_reasoning: false }, "whole"],
    [CHAT, { ...ASK, response_format: { type: "json_object" } }, "whole"],
    [TEXT, PROMPT, "aggregate"],
    [TEXT, { ...PROMPT, prompt: [1, 2, 3] }, "aggregate"],
    [TEXT, { ...PROMPT, prompt: ["a", "b"] }, "whole"],
    [TEXT, { ...PROMPT, prompt: ["a"], n: 2 }, "whole"],
    [TEXT, { ...PROMPT, logprobs: 0 }, "whole"],
    [TEXT, { ...PROMPT, echo: true }, "whole"],
    [TEXT, { ...PROMPT, response_format: { type: "json_object" } }, "whole"],
    ["/v1/responses", { model: "m", input: "hi", stream: true }, "stream"],
    ["/v1/responses", { model: "m", input: "hi", tools: [] }, "aggregate"],
    ["/v1/responses", { model: "m", input: "hi", tools: [tool] }, "whole"],
    ["/v1/responses", { model: "m", input: "hi", text: { format: { type: "json_object" } } }, "whole"],
    ["/v1/responses", { model: "m", input: "hi", include: ["message.output_text.logprobs"] }, "whole"],
    ["/v1/messages", { ...ASK, max_tokens: 3, stream: true, tools: [tool] }, "stream"],
    ["/v1/messages", { ...ASK, max_tokens: 3 }, "aggregate"],
    ["/v1/messages", { ...ASK, max_tokens: 3, tools: [tool] }, "whole"],
    ["/v1/messages", { ...ASK, max_tokens: 3, output_config: { format: { type: "json_schema" } } }, "whole"],
    ["/v1/embeddings", { model: "m", input: "hi" }, "whole"],
    ["/v1/tokenize", { model: "m", prompt: "hi" }, "whole"],
  ])("%s %j is %s", (path, body, mode) => {
    const prepared = prepare(path, body);
    expect(prepared.mode).toBe(mode);
    expect(prepared.body.stream).toBe(mode === "whole" ? undefined : true);
    // The edge knows of it too: what is counted only at its end cannot be stopped with its budget.
    const parsed = endpointForPath(path)!.parse(body);
    const atOnce = parsed.ok && parsed.call.generates ? parsed.call.atOnce : mode === "whole";
    expect(atOnce).toBe(mode === "whole");
    const asksForUsage = path === CHAT || path === TEXT;
    expect(prepared.body.stream_options).toEqual(asksForUsage && mode !== "whole" ? CONTINUOUS : undefined);
  });

  it("always asks for usage on every frame, whatever the client wants to see", () => {
    for (const options of [undefined, null, {}, { include_usage: false }, { include_obfuscation: true }]) {
      const body = { ...ASK, stream: true, stream_options: options };
      expect(prepare(CHAT, body).body.stream_options).toEqual(CONTINUOUS);
    }
  });
});

describe("endpoints that do not stream", () => {
  it.each(["/v1/embeddings", "/v1/rerank", "/v1/score", "/v1/tokenize"])("%s has no reader", (path) => {
    const endpoint = endpointForPath(path)!;
    expect(() => endpoint.reader({}, ORDER)).toThrow(/does not stream/);
    expect(() => endpoint.aggregator({}, ORDER)).toThrow(/does not stream/);
  });
});
