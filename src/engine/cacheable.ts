import type { EndpointId, JsonObject } from "./endpoint.ts";
import { isJsonObject } from "./schema.ts";

/** Which requests' answers may be kept and served again, and which answers are whole. */

/** Endpoints whose answer follows from the request alone. */
const EXACT: readonly EndpointId[] = ["embeddings", "rerank", "score"];
const GENERATES: readonly EndpointId[] = ["chat", "completions", "responses", "messages"];

/**
 * Why an answer to this body must not be kept, or null. What a tool call does happens outside: an old one served again
 * might do it twice, so requests with tools are never answered from a cache.
 * @param sampled whether an answer may be kept though the engine would say something else another time
 */
export function whyNotCacheable(
  endpoint: EndpointId,
  body: JsonObject,
  sampled: boolean,
): "endpoint" | "tools" | "sampled" | null {
  if (EXACT.includes(endpoint)) return null;
  if (!GENERATES.includes(endpoint)) return "endpoint";
  if (Array.isArray(body.tools) && body.tools.length > 0) return "tools";
  return body.temperature === 0 || sampled ? null : "sampled";
}

/** The same text for bodies that differ in the order of fields and in white space only. */
export function canonical(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map(canonical).join(",")}]`;
  if (!isJsonObject(value)) return JSON.stringify(value);
  const fields = Object.keys(value).sort();
  return `{${fields.map((name) => `${JSON.stringify(name)}:${canonical(value[name])}`).join(",")}}`;
}

/** A field of an answer, as it stands in JSON. Inside a text its quotes would be escaped, so no prompt can fake one. */
const CUT_SHORT =
  /"(?:finish_reason|stop_reason)":\s*"(?:length|max_tokens|abort|error|repetition)"|"status":\s*"(?:incomplete|failed|cancelled)"/;
const FAILED = /^event: error|^data: ?\{\s*"(?:error|type":\s*"error)"/m;
const ENDS: Partial<Record<EndpointId, RegExp>> = {
  chat: /^data: \[DONE\]\s*$/m,
  completions: /^data: \[DONE\]\s*$/m,
  responses: /^event: response\.completed$/m,
  messages: /^event: message_stop$/m,
};

/**
 * Whether an answer is the whole one: ended by the engine itself and not by a limit. An answer that was cut short, by the
 * client's own limit or by a budget's, is not kept: nobody here can tell which of the two it was.
 */
export function isWhole(endpoint: EndpointId, isStream: boolean, text: string): boolean {
  if (CUT_SHORT.test(text)) return false;
  if (isStream) return !FAILED.test(text) && (ENDS[endpoint]?.test(text) ?? false);
  try {
    const answer: unknown = JSON.parse(text);
    return isJsonObject(answer) && !isJsonObject(answer.error);
  } catch {
    return false;
  }
}

/** Tokens of an answer, as it tells them itself; null where it does not. */
export function toldUsage(isStream: boolean, text: string): { prompt: number; output: number } | null {
  if (!isStream) return usageIn(JSON.parse(text));
  // The last event that tells usage is the whole of it.
  const events = text.split("\n").filter((line) => line.startsWith("data: {") && line.includes('"usage"'));
  for (const event of events.reverse()) {
    const json: unknown = JSON.parse(event.slice("data: ".length));
    const told = usageIn(json) ?? (isJsonObject(json) ? usageIn(json.response) : null);
    if (told !== null) return told;
  }
  return null;
}

function usageIn(json: unknown): { prompt: number; output: number } | null {
  if (!isJsonObject(json) || !isJsonObject(json.usage)) return null;
  const { usage } = json;
  const number = (value: unknown) => (Number.isSafeInteger(value) && (value as number) >= 0 ? value : null);
  const prompt = number(usage.prompt_tokens ?? usage.input_tokens ?? usage.total_tokens);
  const output = number(usage.completion_tokens ?? usage.output_tokens ?? 0);
  return prompt === null || output === null ? null : { prompt: prompt as number, output: output as number };
}

/** Events of a stream that carry text: for engines that send one per token, its output tokens. */
export function eventsIn(text: string): number {
  return (text.match(/^data: \{/gm) ?? []).length;
}
