import type { EndpointId, JsonObject } from "../endpoint.ts";
import { isJsonObject } from "../schema.ts";
import { hidesStopTokens, stopPlan } from "./stops.ts";

/**
 * Why a stream cannot be carried on by another engine when it breaks off, or null when it can: then its text alone says
 * where it stands, and the engine can be asked to go on after it. What an engine keeps beside the text (a grammar's
 * state, penalties' counts, a random generator's) starts anew elsewhere. docs/resume.md has one row for each.
 * @param body accepted by the endpoint's `parse`
 */
export function whyNotResumable(endpoint: EndpointId, body: JsonObject): string | null {
  if (body.stream !== true) return "not_a_stream";
  return (
    stopsOf(body) ??
    common(body) ??
    BY_ENDPOINT[endpoint]?.(body) ??
    (endpoint in BY_ENDPOINT ? null : "no_text")
  );
}

const BY_ENDPOINT: { readonly [id in EndpointId]?: (body: JsonObject) => string | null } = {
  chat: (body) => messagesOf(body.messages, false),
  completions: (body) => {
    if (typeof body.prompt !== "string" && !isPrompt(body.prompt)) return "prompt";
    return body.echo === true ? "echo" : null;
  },
  messages: (body) => {
    if (given(body.thinking) || given(body.output_config)) return "reasoning";
    return systemOf(body.system) ?? messagesOf(body.messages, true);
  },
  responses: (body) => {
    if (given(body.reasoning)) return "reasoning";
    if (given(body.include)) return "include";
    const format = isJsonObject(body.text) && isJsonObject(body.text.format) ? body.text.format.type : "text";
    if (format !== "text") return "structured_output";
    return typeof body.input === "string" ? null : messagesOf(body.input, true);
  },
};

function common(body: JsonObject): string | null {
  if (typeof body.n === "number" && body.n > 1) return "choices";
  if (given(body.logprobs) && body.logprobs !== false) return "logprobs";
  if (typeof body.top_logprobs === "number" && body.top_logprobs > 0) return "logprobs";
  if (Array.isArray(body.tools) && body.tools.length > 0) return "tools";
  const format = isJsonObject(body.response_format) ? body.response_format.type : "text";
  if (format !== "text") return "structured_output";
  // They count what this answer has said so far, which a second engine takes for a part of the prompt.
  if (set(body.frequency_penalty) || set(body.presence_penalty)) return "penalties";
  if (given(body.repetition_penalty) && body.repetition_penalty !== 1) return "penalties";
  // Its generator would start anew: what was asked to be repeatable would not be.
  if (given(body.seed) && body.temperature !== 0) return "seed";
  if (body.include_reasoning === false || given(body.thinking_token_budget)) return "reasoning";
  // Text with special tokens is read again as those tokens, or not, by the template.
  if (body.skip_special_tokens === false || body.spaces_between_special_tokens === false)
    return "special_tokens";
  return null;
}

/** An engine that is asked to show its stop strings (stops.ts) shows a stop token's text too, like any other's. */
function stopsOf(body: JsonObject): string | null {
  return stopPlan(body) !== null && hidesStopTokens(body) ? "stop" : null;
}

/** One prompt in token ids; a list of texts or of such lists is many prompts. */
function isPrompt(prompt: unknown): boolean {
  return Array.isArray(prompt) && typeof prompt[0] === "number";
}

const TEXT_PARTS = new Set<unknown>(["text", "input_text", "output_text"]);

/** `converted`: the messages are to be told in the words of another endpoint, so only the plainest will do. */
function messagesOf(messages: unknown, converted: boolean): string | null {
  if (!Array.isArray(messages)) return "input";
  for (const message of messages as JsonObject[]) {
    if (converted && message.type !== undefined && message.type !== "message") return "input";
    if (converted && typeof message.role !== "string") return "input";
    // An engine may join them with the first system message, depending on its template.
    if (converted && message.role === "system") return "input";
    const { content } = message;
    if (content === undefined || content === null || typeof content === "string") continue;
    if (!Array.isArray(content)) return "input";
    if (content.some((part: JsonObject) => !TEXT_PARTS.has(part.type))) return "media";
  }
  return null;
}

const STRIPPED_BY_ENGINE = "x-anthropic-billing-header";

function systemOf(system: unknown): string | null {
  const texts = Array.isArray(system)
    ? system.map((block: JsonObject) => String(block.text))
    : [String(system)];
  return texts.some((text) => text.startsWith(STRIPPED_BY_ENGINE)) ? "input" : null;
}

function given(value: unknown): boolean {
  return value !== undefined && value !== null;
}

function set(value: unknown): boolean {
  return typeof value === "number" && value !== 0;
}
