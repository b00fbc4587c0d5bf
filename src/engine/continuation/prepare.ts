import type { OriginOrder } from "../../contract/origin-token.ts";
import type { Endpoint, JsonObject } from "../endpoint.ts";
import { numberOf } from "../order.ts";
import { stopPlan } from "./stops.ts";

/** A call to an engine that goes on where another broke off. */
export interface ContinuedCall {
  readonly path: string;
  readonly body: JsonObject;
}

const LIMITS = ["max_completion_tokens", "max_tokens", "max_output_tokens"] as const;

/** The output limit that the first engine was given, or null. */
export function limitOf(prepared: JsonObject): number | null {
  for (const name of LIMITS) {
    const limit = numberOf(prepared[name]);
    if (limit !== null) return limit;
  }
  return null;
}

/** Fields of every dialect that mean the same in /v1/chat/completions. */
const SAME_IN_CHAT = [
  ...["model", "cache_salt", "temperature", "top_p", "top_k", "min_p", "stop", "stop_token_ids", "seed"],
  ...["logit_bias"],
];

/**
 * The engine's body for the rest of an answer. Messages and responses go on through /v1/chat/completions, into which
 * vLLM itself turns them: neither has a way to continue of its own that counts tokens as it goes.
 * @param outputTokens what the client has had of its limits
 * @param promptIds the prompt of a text completion in tokens, its own and then those of the text
 */
export function prepareContinuation(
  endpoint: Endpoint,
  body: JsonObject,
  order: OriginOrder,
  text: string,
  outputTokens: number,
  promptIds: readonly number[],
): ContinuedCall {
  const prepared = endpoint.prepare(body, order).body;
  // What counts tokens counts on; stop strings are held back by the gate, as before the cut.
  const stops: JsonObject = stopPlan(body) === null ? {} : { include_stop_str_in_output: true };
  const limit = limitOf(prepared);
  const left = limit === null ? null : limit - outputTokens;
  if (left !== null && left <= 0) throw new Error("nothing is left to generate");
  const least = Math.max(0, (numberOf(prepared.min_tokens) ?? 0) - outputTokens);
  const streaming = { stream: true, stream_options: { include_usage: true, continuous_usage_stats: true } };
  if (endpoint.id === "completions") {
    const engine: JsonObject = { ...prepared, ...streaming, prompt: promptIds, max_tokens: left };
    return { path: endpoint.enginePath, body: { ...goingOn(engine, least), ...stops } };
  }
  const engine: JsonObject = endpoint.id === "chat" ? { ...prepared } : chatBody(endpoint, prepared);
  Object.assign(engine, streaming);
  if (left !== null) engine.max_completion_tokens = left;
  // Without a text yet it is a new answer, and no message is there to be continued.
  if (text !== "") {
    engine.messages = [...(engine.messages as unknown[]), { role: "assistant", content: text }];
    engine.continue_final_message = true;
    engine.add_generation_prompt = false;
  }
  return { path: "/v1/chat/completions", body: { ...goingOn(engine, least), ...stops } };
}

function goingOn(engine: JsonObject, least: number): JsonObject {
  const { min_tokens: _before, ...rest } = engine;
  return { ...rest, ...(least > 0 ? { min_tokens: least } : {}) };
}

function chatBody(endpoint: Endpoint, prepared: JsonObject): JsonObject {
  const chat: JsonObject = {};
  for (const name of SAME_IN_CHAT) if (prepared[name] !== undefined) chat[name] = prepared[name];
  const isMessages = endpoint.id === "messages";
  if (isMessages && prepared.stop_sequences !== undefined) chat.stop = prepared.stop_sequences;
  const system = isMessages ? systemText(prepared.system) : prepared.instructions;
  const said = isMessages ? prepared.messages : prepared.input;
  const turns =
    typeof said === "string"
      ? [{ role: "user", content: said }]
      : (said as JsonObject[]).map(({ role, content }) => ({ role, content: partsOf(content, isMessages) }));
  const first = typeof system === "string" && system !== "" ? [{ role: "system", content: system }] : [];
  chat.messages = [...first, ...turns];
  return chat;
}

/** vLLM joins Anthropic's system blocks without anything between them. */
function systemText(system: unknown): unknown {
  return Array.isArray(system) ? system.map((block: JsonObject) => String(block.text)).join("") : system;
}

/** As vLLM turns Anthropic's blocks into a chat's parts: a single one becomes a text. */
function partsOf(content: unknown, isMessages: boolean): unknown {
  if (!Array.isArray(content)) return content;
  const parts = content.map((part: JsonObject) => ({ type: "text", text: part.text }));
  return isMessages && parts.length === 1 ? parts[0]!.text : parts;
}
