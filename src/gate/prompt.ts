import type { OriginOrder } from "../contract/origin-token.ts";
import type { EndpointId, JsonObject } from "../engine/endpoint.ts";
import { TOKENIZE_IN_FLIGHT_MAX, TOKENIZE_TIMEOUT_MS } from "./bounds.ts";

export interface PromptCount {
  readonly tokens: number;
  /** True where the edge's estimate had to do. */
  readonly estimated: boolean;
}

let inFlight = 0;

/**
 * Tokens of a prompt that the engine was given and never spoke of, because its client left first. Asks the same
 * replica; where that cannot tell in time, the edge's estimate counts.
 */
export async function countPrompt(
  endpoint: EndpointId,
  body: JsonObject,
  order: OriginOrder,
  engine: { readonly url: string; readonly apiKey: string | undefined },
): Promise<PromptCount> {
  const estimate = { tokens: order.estimatedPromptTokens, estimated: true };
  const questions = tokenizeBodies(endpoint, body);
  if (questions === null || inFlight >= TOKENIZE_IN_FLIGHT_MAX) return estimate;
  inFlight += 1;
  try {
    const signal = AbortSignal.timeout(TOKENIZE_TIMEOUT_MS);
    let tokens = 0;
    for (const question of questions) tokens += await ask(engine, question, signal);
    return { tokens, estimated: false };
  } catch {
    return estimate;
  } finally {
    inFlight -= 1;
  }
}

/** Prompts of one request to /v1/completions that are worth a question each. */
const PROMPTS_MAX = 8;

/**
 * Bodies for vLLM's /tokenize that give the engine's own prompt; null where it would build the prompt otherwise.
 * @param body as it was sent to the engine
 */
export function tokenizeBodies(endpoint: EndpointId, body: JsonObject): JsonObject[] | null {
  const { model } = body;
  if (endpoint === "chat") {
    // What the chat template reads besides the messages.
    const { messages, tools, chat_template_kwargs, add_generation_prompt, continue_final_message } = body;
    const template = { tools, chat_template_kwargs, add_generation_prompt, continue_final_message };
    const given = Object.entries(template).filter(([, value]) => value !== undefined);
    if (!isPlainText(messages)) return null;
    return [{ model, messages, ...Object.fromEntries(given) }];
  }
  if (endpoint !== "completions") return null;
  const { prompt } = body;
  if (typeof prompt === "string") return [{ model, prompt }];
  if (!Array.isArray(prompt) || prompt.length > PROMPTS_MAX) return null;
  return prompt.every((item) => typeof item === "string")
    ? prompt.map((item) => ({ model, prompt: item }))
    : null;
}

/** /tokenize counts an image as its placeholder, far below what the engine makes of it. */
function isPlainText(messages: unknown): boolean {
  const partsOf = (message: JsonObject) => (Array.isArray(message.content) ? message.content : []);
  return Array.isArray(messages) && messages.flatMap(partsOf).every((part) => part?.type === "text");
}

async function ask(
  engine: { url: string; apiKey: string | undefined },
  question: JsonObject,
  signal: AbortSignal,
): Promise<number> {
  const response = await fetch(`${engine.url}/tokenize`, {
    method: "POST",
    redirect: "error",
    headers: {
      "content-type": "application/json",
      ...(engine.apiKey === undefined ? {} : { authorization: `Bearer ${engine.apiKey}` }),
    },
    body: JSON.stringify(question),
    signal,
  });
  const answer = (await response.json()) as { count?: unknown };
  const { count } = answer;
  if (response.status !== 200 || typeof count !== "number" || !Number.isSafeInteger(count) || count < 0) {
    throw new Error("no count");
  }
  return count;
}
