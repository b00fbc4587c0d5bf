import { describe, expect, test } from "vitest";
import { tokenizeQuestions } from "../../../src/gate/prompt-questions.ts";

const user = { role: "user", content: "hi" };

describe("how a replica is asked to count a prompt", () => {
  test("chat: the messages and what else the template reads", () => {
    const tools = [{ type: "function", function: { name: "f" } }];
    const body = { model: "s", messages: [user], tools, temperature: 1, cache_salt: "x", stream: true };
    expect(tokenizeQuestions("chat", body)).toEqual([{ model: "s", messages: [user], tools }]);
  });

  test("completions and embeddings: each prompt of a few", () => {
    expect(tokenizeQuestions("completions", { model: "s", prompt: "a" })).toEqual([
      { model: "s", prompt: "a" },
    ]);
    expect(tokenizeQuestions("embeddings", { model: "s", input: ["a", "b"] })).toEqual([
      { model: "s", prompt: "a" },
      { model: "s", prompt: "b" },
    ]);
  });

  test("messages and responses: as the chat that the engine makes of them", () => {
    const system = { role: "system", content: "Be brief." };
    expect(tokenizeQuestions("messages", { model: "s", system: "Be brief.", messages: [user] })).toEqual([
      { model: "s", messages: [system, user] },
    ]);
    const input = [{ type: "message", role: "user", content: [{ type: "input_text", text: "hi" }] }];
    expect(tokenizeQuestions("responses", { model: "s", instructions: "Be brief.", input })).toEqual([
      { model: "s", messages: [system, { role: "user", content: [{ type: "text", text: "hi" }] }] },
    ]);
    expect(tokenizeQuestions("responses", { model: "s", input: "hi" })).toEqual([
      { model: "s", messages: [user] },
    ]);
  });

  test.each([
    ["an image", "chat", { messages: [{ role: "user", content: [{ type: "image_url", image_url: {} }] }] }],
    ["no messages", "chat", {}],
    ["token ids", "completions", { prompt: [1, 2, 3] }],
    ["very many prompts", "completions", { prompt: Array(100).fill("a") }],
    ["tools of the Responses API", "responses", { input: "a", tools: [{}] }],
    ["a call of a tool", "responses", { input: [{ type: "function_call", name: "f" }] }],
    ["tools of Anthropic's API", "messages", { messages: [user], tools: [{}] }],
    ["documents", "rerank", { query: "a", documents: ["b"] }],
  ] as const)("not where an estimate is as good: %s", (_what, endpoint, body) => {
    expect(tokenizeQuestions(endpoint, body)).toBeNull();
  });
});
