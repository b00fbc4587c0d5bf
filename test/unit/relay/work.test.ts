import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { PREFIX_BLOCK_CHARS } from "../../../src/bounds.ts";
import type { JsonObject } from "../../../src/engine/endpoint.ts";
import { promptParts } from "../../../src/engine/prompt-parts.ts";
import { expectedOutputTokens, sessionName, tokensPerBlock } from "../../../src/relay/forecast.ts";
import { blocksOf } from "../../../src/routing/blocks.ts";

const CALL = {
  endpoint: "chat",
  model: "m",
  stream: true,
  maxOutputTokens: null,
  choices: 1,
  measure: { proseChars: 0, codeChars: 0, cjkChars: 0, otherChars: 0 },
  fixedTokens: 0,
  generates: true,
  endUser: null,
} as const;

const blocks = (body: JsonObject, salt = "tenant\nm") => blocksOf(promptParts("chat", body), salt).blocks;

const SYSTEM = { role: "system", content: "Be brief. ".repeat(200) };
const TURN = { role: "user", content: "A question, at some length. ".repeat(60) };

describe("the blocks of a prompt", () => {
  it("are shared by a conversation's next turn, and by nobody of another tenant or model", () => {
    const first = blocks({ messages: [SYSTEM, TURN] });
    const answer = { role: "assistant", content: "An answer. ".repeat(90) };
    const second = blocks({ messages: [SYSTEM, TURN, answer, TURN] });
    expect(first.length).toBeGreaterThan(4);
    expect(second.slice(0, first.length)).toEqual(first);
    for (const salt of ["other\nm", "tenant\nadapter"]) {
      expect(blocks({ messages: [SYSTEM, TURN] }, salt).filter((name) => first.includes(name))).toEqual([]);
    }
  });

  it("do not depend on fields that no engine reads as a prompt", () => {
    const messages = [SYSTEM, TURN];
    expect(blocks({ messages, temperature: 1, user: "u", max_tokens: 5 })).toEqual(blocks({ messages }));
    expect(blocks({ messages, tools: [{ type: "function", function: { name: "f" } }] })).not.toEqual(
      blocks({ messages }),
    );
  });

  it("are the same whether a text stands alone or as the only part", () => {
    const parts = [{ role: "user", content: [{ type: "text", text: TURN.content }] }];
    expect(blocks({ messages: parts })).toEqual(blocks({ messages: [TURN] }));
  });

  it.each([
    ["completions", { prompt: "text ".repeat(400) }],
    ["completions", { prompt: Array.from({ length: 900 }, (_, id) => id) }],
    ["completions", { prompt: ["text ".repeat(400), "other"] }],
    ["messages", { system: [{ type: "text", text: "s".repeat(900) }], messages: [TURN] }],
    ["responses", { instructions: "i".repeat(900), input: [{ type: "message", ...TURN }] }],
    ["responses", { input: "i".repeat(900) }],
  ] as const)("are there for %s", (endpoint, body) => {
    expect(blocksOf(promptParts(endpoint, body as unknown as JsonObject), "s").blocks.length).toBeGreaterThan(
      0,
    );
  });

  it("are none where nothing is cached", () => {
    expect([...promptParts("embeddings", { input: "x".repeat(5_000) })]).toEqual([]);
  });
});

describe("the work of a request", () => {
  it("takes a client's limit for a bound and not for a forecast", () => {
    expect(expectedOutputTokens(CALL)).toBe(350);
    expect(expectedOutputTokens({ ...CALL, maxOutputTokens: 8_000 })).toBe(350);
    expect(expectedOutputTokens({ ...CALL, maxOutputTokens: 16, choices: 3 })).toBe(48);
    expect(expectedOutputTokens({ ...CALL, generates: false })).toBe(0);
  });

  it("spreads the estimate over the text, within what a character can be", () => {
    fc.assert(
      fc.property(fc.nat(1_000_000), fc.nat(4_000_000), (tokens, chars) => {
        const perBlock = tokensPerBlock(tokens, chars);
        expect(perBlock).toBeGreaterThanOrEqual(1);
        expect(perBlock).toBeLessThanOrEqual(PREFIX_BLOCK_CHARS);
      }),
    );
    expect(tokensPerBlock(1_000, 4_096)).toBe(125);
  });

  it("names a session so that neither its text nor its tenant shows, and equal ones differ by tenant and model", async () => {
    const name = await sessionName("salt", "m", "chat 7");
    expect(name).toMatch(/^[\w-]{22}$/);
    expect(await sessionName("salt", "m", "chat 7")).toBe(name);
    expect(await sessionName("pepper", "m", "chat 7")).not.toBe(name);
    expect(await sessionName("salt", "n", "chat 7")).not.toBe(name);
  });
});
