import type { EndpointId, JsonObject } from "../engine/endpoint.ts";

/** Prompts of one request that are worth a question each. */
const PROMPTS_MAX = 8;

/**
 * Bodies for vLLM's /tokenize whose counts add up to the engine's own prompt; null where the engine would build it
 * in another way, so that an estimate is as good.
 * @param body as it was sent to the engine
 */
export function tokenizeQuestions(endpoint: EndpointId, body: JsonObject): JsonObject[] | null {
  switch (endpoint) {
    case "chat":
      return chatQuestion(body, body.messages, body.tools);
    case "messages":
      return body.tools ? null : chatQuestion(body, [...systemOf(body.system), ...listOf(body.messages)]);
    case "responses":
      return body.tools ? null : chatQuestion(body, [...systemOf(body.instructions), ...inputOf(body.input)]);
    case "completions":
      return promptQuestions(body.model, body.prompt);
    case "embeddings":
      return promptQuestions(body.model, body.input);
    default:
      return null;
  }
}

function promptQuestions(model: unknown, prompt: unknown): JsonObject[] | null {
  if (typeof prompt === "string") return [{ model, prompt }];
  if (!Array.isArray(prompt) || prompt.length > PROMPTS_MAX) return null;
  return prompt.every((item) => typeof item === "string")
    ? prompt.map((item) => ({ model, prompt: item }))
    : null;
}

function chatQuestion(body: JsonObject, messages: unknown, tools?: unknown): JsonObject[] | null {
  const plain = listOf(messages).map(plainMessage);
  if (plain.length === 0 || plain.includes(null)) return null;
  // What the chat template reads besides the messages.
  const { model, chat_template_kwargs, add_generation_prompt, continue_final_message } = body;
  const template = { tools, chat_template_kwargs, add_generation_prompt, continue_final_message };
  const given = Object.entries(template).filter(([, value]) => value !== undefined);
  return [{ model, messages: plain, ...Object.fromEntries(given) }];
}

/** The Responses API and Anthropic's keep what chat says in a first message in a field of its own. */
function systemOf(instructions: unknown): unknown[] {
  return instructions === undefined || instructions === null
    ? []
    : [{ role: "system", content: instructions }];
}

function inputOf(input: unknown): unknown[] {
  return typeof input === "string" ? [{ role: "user", content: input }] : listOf(input);
}

const TEXT_PARTS = new Set(["text", "input_text", "output_text"]);

/** A message of nothing but text; null for all others: /tokenize counts an image as its placeholder. */
function plainMessage(message: unknown): JsonObject | null {
  if (!isObject(message) || (message.type !== undefined && message.type !== "message")) return null;
  const { type: _type, ...rest } = message;
  if (!Array.isArray(message.content)) return rest;
  const parts = message.content.map((part) =>
    isObject(part) && TEXT_PARTS.has(String(part.type)) ? { type: "text", text: part.text } : null,
  );
  return parts.includes(null) ? null : { ...rest, content: parts };
}

function listOf(value: unknown): unknown[] {
  return Array.isArray(value) ? value : [null];
}

function isObject(value: unknown): value is JsonObject {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
