import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { JSON_DEPTH_MAX } from "../../../src/bounds.ts";
import type { JsonObject, Parsed } from "../../../src/engine/endpoint.ts";
import { ENDPOINTS, endpointForPath } from "../../../src/engine/endpoints.ts";
import { told } from "../../../src/errors.ts";
import { PIXEL, SAMPLES } from "./bodies.ts";

function parse(path: string, body: unknown): Parsed {
  return endpointForPath(path)!.parse(body);
}

/** The refused field and how, or null when the body was taken. */
function refusal(path: string, body: unknown): string | null {
  const parsed = parse(path, body);
  if (parsed.ok) return null;
  const { failure } = parsed;
  return "param" in failure ? `${failure.tag} ${failure.param}` : failure.tag;
}

describe.each(SAMPLES)("$path", ({ path, fields, least, more }) => {
  it("takes the least, and everything that it knows", () => {
    expect(parse(path, least)).toMatchObject({ ok: true });
    expect(parse(path, { ...least, ...more })).toMatchObject({ ok: true });
    const known = [...Object.keys(fields.passes), ...Object.keys(fields.stripped)];
    const shown = new Set(Object.keys({ ...least, ...more }));
    const byOtherNames = path === "/v1/score" ? ["queries", "documents"] : [];
    const either = path === "/v1/tokenize" ? ["messages", "tools"] : [];
    expect(known.filter((name) => !shown.has(name))).toEqual([...either, ...byOtherNames]);
  });

  it("takes null for absent, but for what is required", () => {
    for (const name of Object.keys(more)) {
      const expected = Object.hasOwn(least, name) ? expect.stringContaining("invalid_field") : null;
      expect([name, refusal(path, { ...least, [name]: null })]).toEqual([name, expected]);
    }
    for (const name of Object.keys(least)) {
      const { [name]: _missing, ...rest } = least;
      expect(refusal(path, rest)).toMatch(/^invalid_field /);
    }
  });

  it("refuses each forbidden field, with a reason that names it", () => {
    const known = new Set([...Object.keys(fields.passes), ...Object.keys(fields.stripped)]);
    const names = Object.keys(fields.forbidden).filter((name) => !known.has(name) && name !== "guided_*");
    for (const name of [...names, "guided_json", "guided_grammar"]) {
      for (const value of [null, true, { a: 1 }]) {
        const parsed = parse(path, { ...least, [name]: value });
        expect(parsed).toMatchObject({ ok: false, failure: { tag: "forbidden_field", param: name } });
        if (!parsed.ok) expect(told(parsed.failure).message).toContain(`'${name}' is not accepted: `);
      }
    }
  });

  it("refuses what it does not know", () => {
    for (const name of ["temprature", "", "__proto__", "constructor", "toString"]) {
      const body = JSON.parse(JSON.stringify({ ...least }).replace("{", `{${JSON.stringify(name)}:1,`));
      expect(refusal(path, body)).toBe(`unknown_field ${name}`);
    }
  });

  it("refuses every field of a wrong type", () => {
    const wrong = [true, 1.5, Number.POSITIVE_INFINITY, 2 ** 60, "\u0000wrong", [[[]]], [{}], { wrong: [] }];
    for (const [name, good] of Object.entries({ ...least, ...more })) {
      if (["prediction", "prompt_cache_options", "cache_control", "context_management"].includes(name))
        continue;
      const results = wrong.map((value) => refusal(path, { ...least, ...more, [name]: value }));
      const refused = results.filter((result) => result !== null);
      expect([name, refused.length >= 5, good]).toEqual([name, true, good]);
      for (const result of refused) expect(result).toMatch(/^(invalid|unknown|forbidden)_field [a-z_]+/);
    }
  });

  it("refuses what is no object", () => {
    for (const body of [null, undefined, 3, "x", true, [], [least]]) {
      expect(refusal(path, body)).toBe("bad_json");
    }
  });
});

describe("bounds", () => {
  const CHAT = "/v1/chat/completions";
  const hi = { model: "m", messages: [{ role: "user", content: "hi" }] };
  const deep = (levels: number): unknown => (levels === 0 ? 1 : [deep(levels - 1)]);
  const schema = (value: unknown) => ({
    response_format: { type: "json_schema", json_schema: { name: "n", schema: { value } } },
  });

  it.each<[JsonObject, string | null]>([
    [{ n: 8 }, null],
    [{ n: 9 }, "invalid_field n"],
    [{ n: 0 }, "invalid_field n"],
    [{ max_tokens: 0 }, "invalid_field max_tokens"],
    [{ max_tokens: 1_048_577 }, "invalid_field max_tokens"],
    [{ max_tokens: 2 ** 53 }, "invalid_field max_tokens"],
    [{ seed: 2 ** 53 }, "invalid_field seed"],
    [{ temperature: -0.1 }, "invalid_field temperature"],
    [{ top_p: 1.01 }, "invalid_field top_p"],
    [{ repetition_penalty: 0 }, "invalid_field repetition_penalty"],
    [{ logprobs: true, top_logprobs: 21 }, "invalid_field top_logprobs"],
    [{ top_logprobs: 2 }, "invalid_field top_logprobs"],
    [{ stop: Array(17).fill("x") }, "invalid_field stop"],
    [{ stop: ["x".repeat(1_025)] }, "invalid_field stop[0]"],
    [{ stop_token_ids: Array(257).fill(1) }, "invalid_field stop_token_ids"],
    [{ logit_bias: { "1": 101 } }, "invalid_field logit_bias"],
    [{ logit_bias: { x: 1 } }, "invalid_field logit_bias"],
    [{ min_tokens: 5, max_tokens: 4 }, "invalid_field min_tokens"],
    [{ min_tokens: 5 }, null],
    [{ stream_options: { include_usage: true } }, "invalid_field stream_options"],
    [{ stream: true, stream_options: { x: 1 } }, "unknown_field stream_options.x"],
    [{ model: "" }, "invalid_field model"],
    [{ model: "x".repeat(129) }, "invalid_field model"],
    [{ messages: [] }, "invalid_field messages"],
    [{ messages: Array(4_097).fill(hi.messages[0]) }, "invalid_field messages"],
    [{ tools: [] }, "invalid_field tools"],
    [{ tools: [{ type: "custom", custom: {} }] }, "invalid_field tools[0].type"],
    [{ response_format: { type: "structural_tag", format: {} } }, "invalid_field response_format.type"],
    [{ modalities: ["text", "audio"] }, "invalid_field modalities"],
    [{ user: "x".repeat(513) }, "invalid_field user"],
    [schema(deep(JSON_DEPTH_MAX - 2)), null],
    [schema(deep(JSON_DEPTH_MAX)), "invalid_field response_format.json_schema.schema"],
    [schema(Number.POSITIVE_INFINITY), "invalid_field response_format.json_schema.schema"],
  ])("%j", (more, expected) => {
    expect(refusal(CHAT, { ...hi, ...more })).toBe(expected);
  });

  it("stands a schema that is deeper than the stack", () => {
    let value: unknown = 1;
    for (let level = 0; level < 200_000; level++) value = [value];
    expect(refusal(CHAT, { ...hi, ...schema(value) })).toBe(
      "invalid_field response_format.json_schema.schema",
    );
  });

  it("looks no further than the first problem", () => {
    let touched = 0;
    const watched = {
      get role() {
        touched += 1;
        return "nobody";
      },
    };
    const bad = { role: "user", content: [{ type: "text", text: 1 }, watched] };
    expect(refusal(CHAT, { ...hi, messages: [bad, watched, watched] })).toBe(
      "invalid_field messages[0].content[0].text",
    );
    expect(touched).toBe(0);
  });

  it("does not look at the items of a list that is too long", () => {
    const input = Array(2_000_000).fill({});
    expect(refusal("/v1/embeddings", { model: "m", input })).toBe("invalid_field input");
  });

  it.each<[string, JsonObject, string | null]>([
    ["/v1/completions", { prompt: Array(9).fill("x") }, "invalid_field prompt"],
    ["/v1/completions", { prompt: ["a", "b", "c"], n: 3 }, "invalid_field n"],
    ["/v1/completions", { prompt: "" }, "invalid_field prompt"],
    ["/v1/completions", { prompt: [] }, "invalid_field prompt"],
    ["/v1/completions", { prompt: [1, "a"] }, "invalid_field prompt"],
    ["/v1/completions", { prompt: [-1] }, "invalid_field prompt"],
    ["/v1/completions", { prompt: [2 ** 31] }, "invalid_field prompt"],
    ["/v1/completions", { echo: true, logprobs: 1 }, "invalid_field logprobs"],
    ["/v1/completions", { min_tokens: 17 }, "invalid_field min_tokens"],
    ["/v1/completions", { best_of: 2 }, "invalid_field best_of"],
    ["/v1/responses", { background: true }, "forbidden_field background"],
    ["/v1/responses", { previous_response_id: "resp_1" }, "forbidden_field previous_response_id"],
    ["/v1/responses", { conversation: "conv_1" }, "forbidden_field conversation"],
    ["/v1/responses", { prompt: { id: "p" } }, "forbidden_field prompt"],
    ["/v1/responses", { tools: [{ type: "web_search" }] }, "invalid_field tools[0].type"],
    ["/v1/responses", { top_logprobs: 2 }, "invalid_field top_logprobs"],
    ["/v1/responses", { input: [{ type: "item_reference", id: "x" }] }, "invalid_field input[0].type"],
    [
      "/v1/responses",
      { input: [{ role: "user", content: "x", status: "incomplete" }] },
      "invalid_field input[0].status",
    ],
    ["/v1/messages", { max_tokens: 0 }, "invalid_field max_tokens"],
    [
      "/v1/messages",
      { thinking: { type: "enabled", budget_tokens: 1_024 } },
      "invalid_field thinking.budget_tokens",
    ],
    [
      "/v1/messages",
      { tools: [{ type: "web_search_20250305", name: "w" }] },
      "invalid_field tools[0].input_schema",
    ],
    ["/v1/messages", { messages: [{ role: "tool", content: "x" }] }, "invalid_field messages[0].role"],
    ["/v1/embeddings", { input: Array(2_049).fill("x") }, "invalid_field input"],
    ["/v1/embeddings", { encoding_format: "bytes" }, "invalid_field encoding_format"],
    ["/v1/rerank", { documents: [] }, "invalid_field documents"],
    ["/v1/rerank", { documents: [{ text: "x" }] }, "invalid_field documents[0]"],
    ["/v1/score", { text_1: ["a", "b"], text_2: ["a", "b", "c"] }, "invalid_field text_2"],
    ["/v1/score", { text_2: null }, "invalid_field text_2"],
    ["/v1/score", { queries: "q" }, "invalid_field queries"],
    ["/v1/tokenize", { messages: [{ role: "user", content: "x" }] }, "invalid_field messages"],
  ])("%s %j", (path, more, expected) => {
    const { least } = SAMPLES.find((sample) => sample.path === path)!;
    expect(refusal(path, { ...least, ...more })).toBe(expected);
  });
});

describe("media", () => {
  const chat = (part: JsonObject) => ({ model: "m", messages: [{ role: "user", content: [part] }] });
  const urls = [
    "http://10.0.0.1/x",
    "https://example.com/a.png",
    "file:///etc/passwd",
    "//x",
    "",
    " data:",
    "data:,x",
  ];

  it.each(urls)("never fetches %j", (url) => {
    const at = "forbidden_field messages[0].content[0]";
    expect(refusal("/v1/chat/completions", chat({ type: "image_url", image_url: { url } }))).toBe(
      `${at}.image_url.url`,
    );
    expect(refusal("/v1/chat/completions", chat({ type: "audio_url", audio_url: { url } }))).toBe(
      `${at}.audio_url.url`,
    );
    expect(refusal("/v1/chat/completions", chat({ type: "video_url", video_url: { url } }))).toBe(
      `${at}.video_url.url`,
    );
    const image = { type: "image", source: { type: "url", url } };
    const message = { model: "m", max_tokens: 1, messages: [{ role: "user", content: [image] }] };
    expect(refusal("/v1/messages", message)).toBe(`${at}.source.url`);
    const item = { role: "user", content: [{ type: "input_image", image_url: url }] };
    expect(refusal("/v1/responses", { model: "m", input: [item] })).toBe(
      "forbidden_field input[0].content[0].image_url",
    );
  });

  it("lets nothing ride along in a part", () => {
    for (const extra of [{ uuid: "x" }, { image_embeds: "x" }, { cache_control: {} }]) {
      const part = { type: "image_url", image_url: { url: PIXEL }, ...extra };
      expect(refusal("/v1/chat/completions", chat(part))).toMatch(
        /^unknown_field messages\[0\]\.content\[0\]\./,
      );
    }
    const source = { type: "base64", media_type: "image/png;base64,AAAA#", data: "x" };
    const message = { role: "user", content: [{ type: "image", source }] };
    expect(refusal("/v1/messages", { model: "m", max_tokens: 1, messages: [message] })).toBe(
      "invalid_field messages[0].content[0].source.media_type",
    );
  });
});

describe("any JSON", () => {
  const json = fc.jsonValue({ maxDepth: 6 });

  it.each(ENDPOINTS.map((endpoint) => endpoint.path))("%s never throws", (path) => {
    const { least, more } = SAMPLES.find((sample) => sample.path === path)!;
    const whole = { ...least, ...more };
    const mutated = fc
      .array(fc.tuple(fc.constantFrom(...Object.keys(whole)), fc.oneof(json, fc.anything())), {
        maxLength: 3,
      })
      .map((changes) => ({ ...whole, ...Object.fromEntries(changes) }));
    const grafted = fc
      .tuple(fc.nat(400), fc.oneof(json, fc.anything()))
      .map(([place, value]) => graft(whole, place, value));
    fc.assert(
      fc.property(fc.oneof(json, fc.anything(), mutated, grafted), (body) => {
        const parsed = parse(path, body);
        if (parsed.ok) {
          expect(parsed.call.choices).toBeGreaterThan(0);
          expect(Number.isSafeInteger(parsed.call.fixedTokens)).toBe(true);
        } else expect(told(parsed.failure).status).toBe(400);
      }),
      { numRuns: 500 },
    );
  });
});

/** A copy with the value at the n-th place, counted depth first, replaced. */
function graft(root: unknown, place: number, value: unknown): unknown {
  let left = place;
  const walk = (node: unknown): unknown => {
    if (left-- === 0) return value;
    if (Array.isArray(node)) return node.map(walk);
    if (typeof node !== "object" || node === null) return node;
    return Object.fromEntries(Object.entries(node).map(([key, one]) => [key, walk(one)]));
  };
  return walk(root);
}
