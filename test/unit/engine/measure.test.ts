import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { Call, JsonObject } from "../../../src/engine/endpoint.ts";
import { endpointForPath } from "../../../src/engine/endpoints.ts";
import { audioTokens, imageSize, imageTokens } from "../../../src/engine/media.ts";
import { TextMeter } from "../../../src/engine/text.ts";
import { PIXEL, SAMPLES } from "./bodies.ts";
import { fixtureJson } from "./support.ts";

function call(path: string, body: JsonObject): Call {
  const parsed = endpointForPath(path)!.parse(body);
  if (!parsed.ok) throw new Error(JSON.stringify(parsed.failure));
  return parsed.call;
}

function chat(...messages: JsonObject[]): Call {
  return call("/v1/chat/completions", { model: "m", messages });
}

const NONE = { proseChars: 0, codeChars: 0, cjkChars: 0, otherChars: 0 };

describe("text", () => {
  it("is counted by script class", () => {
    const meter = new TextMeter();
    meter.add("Hi! 你好、こんにちは 안녕 Привет é");
    expect(meter.measure()).toEqual({ proseChars: 7, codeChars: 0, cjkChars: 10, otherChars: 7 });
  });

  it("counts every UTF-16 unit once, as often as it is read", () => {
    fc.assert(
      fc.property(fc.string({ unit: "binary", maxLength: 40 }), fc.nat(9), (text, times) => {
        const meter = new TextMeter();
        meter.add(text, times);
        const { proseChars, codeChars, cjkChars, otherChars } = meter.measure();
        expect(proseChars + codeChars + cjkChars + otherChars).toBe(text.length * times);
        expect(proseChars + codeChars).toBe(text.replace(/[^\0-\x7f]/g, "").length * times);
      }),
    );
  });
});

describe("ASCII", () => {
  const measured = (...texts: string[]) => {
    const meter = new TextMeter();
    for (const text of texts) meter.add(text);
    return meter.measure();
  };

  it.each([
    "The edge decides and pipes: a Worker in every location authenticates, reserves and ranks (see above).",
    "It's 5 o'clock - don't wait! Really? Yes; she said so, and I believe her.",
    "",
  ])("is prose where it reads like prose: %j", (text) => {
    expect(measured(text)).toEqual({ ...NONE, proseChars: text.length });
  });

  it.each([
    "for (const scope of scopes) { total += weights[scope] * 2; }",
    '{"id":"a","limits":{"tokensPerMinute":1000}}',
    "f4a1c07be2994d0c8a6f5e3312b7d9c0",
    "SELECT id, body FROM accounts WHERE scope = 'a' AND open = 0 LIMIT 1000;",
  ])("is code where digits and signs are many: %j", (text) => {
    expect(measured(text)).toEqual({ ...NONE, codeChars: text.length });
  });

  it("is told apart text by text, and where other scripts stand between", () => {
    expect(measured("Please explain this:", "x = {1: [2, 3]}")).toEqual({
      ...NONE,
      proseChars: 20,
      codeChars: 15,
    });
    expect(measured("汉字 x=1; 汉字")).toMatchObject({ codeChars: 6, cjkChars: 4 });
  });
});

describe("what a call costs", () => {
  it("counts frames of messages, names, parts and reasoning", () => {
    const one = chat({ role: "user", content: "four" });
    expect([one.measure.proseChars, one.fixedTokens]).toEqual([4, 3 + 4]);
    const two = chat(
      {
        role: "user",
        name: "bob",
        content: [
          { type: "text", text: "ab" },
          { type: "text", text: "c" },
        ],
      },
      { role: "assistant", content: "d", reasoning: "ef" },
    );
    expect([two.measure.proseChars, two.fixedTokens]).toEqual([9, 3 + 8]);
  });

  it("counts tools and tool calls as their JSON", () => {
    const fn = { name: "f", arguments: '{"a":1}' };
    const messages = [{ role: "assistant", tool_calls: [{ id: "c", type: "function", function: fn }] }];
    expect(chat(...messages).measure.codeChars).toBe(JSON.stringify([fn]).length);
    const tools = [{ type: "function", function: { name: "f" } }];
    const withTools = call("/v1/chat/completions", {
      model: "m",
      messages: [{ role: "user", content: "" }],
      tools,
    });
    expect(withTools.measure.codeChars).toBe(JSON.stringify(tools).length);
  });

  it("counts token ids exactly, and prompts times choices", () => {
    const ids = call("/v1/completions", { model: "m", prompt: [[1, 2, 3], [4]], n: 3 });
    expect(ids).toMatchObject({ measure: NONE, fixedTokens: 4, choices: 6, maxOutputTokens: 16 });
    const texts = call("/v1/completions", { model: "m", prompt: ["ab", "c"], max_tokens: 5 });
    expect(texts).toMatchObject({
      measure: { proseChars: 3 },
      fixedTokens: 2,
      choices: 2,
      maxOutputTokens: 5,
    });
  });

  it("reads the output limit as the engine does", () => {
    const ask = { model: "m", messages: [{ role: "user", content: "hi" }] };
    const limit = (more: JsonObject) => call("/v1/chat/completions", { ...ask, ...more }).maxOutputTokens;
    expect([limit({}), limit({ max_tokens: 3 }), limit({ max_tokens: 3, max_completion_tokens: 9 })]).toEqual(
      [null, 3, 9],
    );
    expect(call("/v1/responses", { model: "m", input: "hi", max_output_tokens: 4 }).maxOutputTokens).toBe(4);
    expect(call("/v1/messages", { ...ask, max_tokens: 6 }).maxOutputTokens).toBe(6);
  });

  it("reads a query once per document", () => {
    const rerank = call("/v1/rerank", { model: "m", query: "abc", documents: ["d", "ef"] });
    expect(rerank).toMatchObject({ measure: { proseChars: 2 * 3 + 3 }, fixedTokens: 6, generates: false });
    const pairs = call("/v1/score", { model: "m", queries: ["abc", "d"], documents: ["e", "f"] });
    expect(pairs).toMatchObject({ measure: { proseChars: 6 }, fixedTokens: 6 });
    const many = call("/v1/score", { model: "m", text_1: "abc", text_2: ["e", "f"], instruction: "xy" });
    expect(many.measure.proseChars).toBe(6 + 2 + 4);
  });

  it("takes tokenize for free", () => {
    expect(call("/v1/tokenize", { model: "m", prompt: "abc" })).toMatchObject({
      measure: NONE,
      fixedTokens: 0,
    });
    expect(endpointForPath("/v1/tokenize")?.wholeUsage(fixtureJson("tokenize-prompt.json"))).toEqual({
      promptTokens: 0,
      cachedTokens: 0,
      outputTokens: 0,
    });
  });

  it("counts every kind of content somewhere", () => {
    for (const { path, least, more } of SAMPLES) {
      const whole = call(path, { ...least, ...more });
      expect([path, whole.model, whole.endpoint]).toEqual([path, least.model, endpointForPath(path)?.id]);
      if (path !== "/v1/tokenize") expect(whole.fixedTokens).toBeGreaterThan(0);
    }
    const images = SAMPLES.filter(({ path }) => /chat|responses|messages/.test(path));
    for (const { path, least, more } of images) {
      expect(call(path, { ...least, ...more }).fixedTokens).toBeGreaterThan(256);
    }
  });
});

describe("the end user", () => {
  const ask = { model: "m", messages: [{ role: "user", content: "hi" }] };
  it.each<[string, JsonObject, string | null]>([
    ["/v1/chat/completions", {}, null],
    ["/v1/chat/completions", { user: "u" }, "u"],
    ["/v1/chat/completions", { user: "u", safety_identifier: "s" }, "s"],
    ["/v1/chat/completions", { user: "", metadata: { user_id: "m" } }, "m"],
    ["/v1/messages", { max_tokens: 1, metadata: { user_id: "m" } }, "m"],
    ["/v1/messages", { max_tokens: 1, metadata: { user_id: null } }, null],
  ])("%s %j is %j", (path, more, expected) => {
    expect(call(path, { ...ask, ...more }).endUser).toBe(expected);
  });
});

/** The smallest header of each format that states 640 × 480. */
const HEADERS: Record<string, number[]> = {
  png: [
    0x89, 0x50, 0x4e, 0x47, 13, 10, 26, 10, 0, 0, 0, 13, 0x49, 0x48, 0x44, 0x52, 0, 0, 2, 128, 0, 0, 1, 224,
  ],
  gif: [0x47, 0x49, 0x46, 0x38, 0x39, 0x61, 128, 2, 224, 1],
  jpeg: [0xff, 0xd8, 0xff, 0xe0, 0, 4, 0, 0, 0xff, 0xff, 0xc4, 0, 3, 0, 0xff, 0xc0, 0, 17, 8, 1, 224, 2, 128],
  webpLossy: [...riff("VP8 "), 0, 0, 0, 0, 0x9d, 1, 0x2a, 0x9d, 1, 0x2a, 128, 2, 224, 1],
  webpLossless: [...riff("VP8L"), 0, 0, 0, 0, 0x2f, ...uint32(639 | (479 << 14))],
  webpExtended: [...riff("VP8X"), 10, 0, 0, 0, 0, 0, 0, 0, 127, 2, 0, 223, 1, 0],
};

function riff(kind: string): number[] {
  return [..."RIFF", "\0", "\0", "\0", "\0", ..."WEBP", ...kind].map((char) => char.charCodeAt(0));
}

function uint32(value: number): number[] {
  return [value & 255, (value >>> 8) & 255, (value >>> 16) & 255, value >>> 24];
}

function padded(bytes: number[]): Uint8Array {
  return Uint8Array.from([...bytes, ...Array(Math.max(0, 40 - bytes.length)).fill(0)]);
}

describe("images", () => {
  it.each(Object.entries(HEADERS))("%s tells its size", (_, bytes) => {
    expect(imageSize(padded(bytes))).toEqual({ width: 640, height: 480 });
  });

  it("cost one token per 28 pixels square, within bounds", () => {
    const url = (bytes: number[]) => `data:image/x;base64,${btoa(String.fromCharCode(...padded(bytes)))}`;
    expect(imageTokens(url(HEADERS.png!))).toBe(23 * 18);
    expect(imageTokens(PIXEL)).toBe(256);
    const huge = HEADERS.png!.with(18, 255).with(22, 255);
    expect(imageTokens(url(huge))).toBe(16_384);
    expect(imageTokens(url([1, 2, 3]))).toBe(4_096);
    expect(imageTokens("data:image/png;base64,???")).toBe(4_096);
  });

  it("never throws, whatever the bytes", () => {
    const start = fc.constantFrom(...Object.values(HEADERS).map((bytes) => bytes.slice(0, 16)), []);
    fc.assert(
      fc.property(start, fc.uint8Array({ maxLength: 80 }), fc.nat(20), (head, rest, cut) => {
        const bytes = Uint8Array.from([...head.slice(0, cut), ...rest]);
        const size = imageSize(bytes);
        if (size !== null) expect(Math.min(size.width, size.height)).toBeGreaterThan(0);
        const tokens = imageTokens(`data:image/png;base64,${btoa(String.fromCharCode(...bytes))}`);
        expect(tokens).toBeGreaterThanOrEqual(256);
        expect(tokens).toBeLessThanOrEqual(16_384);
      }),
      { numRuns: 500 },
    );
  });
});

describe("audio", () => {
  it("costs by its length", () => {
    const seconds = 60;
    expect(audioTokens((seconds * 8_000) / 0.75, false)).toBe(25 * seconds);
    expect(audioTokens((seconds * 32_000) / 0.75, true)).toBe(25 * seconds);
    expect(audioTokens(4, true)).toBe(64);
  });
});

describe("usage of one JSON", () => {
  it.each([
    ["/v1/chat/completions", "chat-json-n2.json"],
    ["/v1/completions", "completions-json-echo.json"],
    ["/v1/responses", "responses-json.json"],
    ["/v1/messages", "messages-json.json"],
    ["/v1/embeddings", "embeddings-base64.json"],
    ["/v1/rerank", "rerank-json.json"],
    ["/v1/score", "score-json.json"],
  ])("%s: %s", (path, file) => {
    const answer = fixtureJson(file);
    const told = answer.usage as Record<string, number>;
    const usage = endpointForPath(path)!.wholeUsage(answer);
    expect(usage?.promptTokens).toBe(told.prompt_tokens ?? told.input_tokens);
    expect(usage?.outputTokens).toBe(told.completion_tokens ?? told.output_tokens ?? 0);
    expect(endpointForPath(path)!.wholeUsage({})).toBeNull();
    expect(endpointForPath(path)!.wholeUsage({ usage: { prompt_tokens: -1, input_tokens: "3" } })).toBeNull();
  });
});
