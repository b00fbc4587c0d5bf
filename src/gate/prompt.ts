import type { OriginOrder } from "../contract/origin-token.ts";
import type { EndpointId, JsonObject } from "../engine/endpoint.ts";
import { TOKENIZE_IN_FLIGHT_MAX, TOKENIZE_TIMEOUT_MS } from "./bounds.ts";
import { tokenizeQuestions } from "./prompt-questions.ts";

export interface EngineAddress {
  readonly url: string;
  readonly apiKey: string | undefined;
}

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
  engine: EngineAddress,
): Promise<PromptCount> {
  const estimate = { tokens: order.estimatedPromptTokens, estimated: true };
  const questions = tokenizeQuestions(endpoint, body);
  if (questions === null || inFlight >= TOKENIZE_IN_FLIGHT_MAX) return estimate;
  inFlight += 1;
  try {
    const signal = AbortSignal.timeout(TOKENIZE_TIMEOUT_MS);
    let tokens = 0;
    for (const question of questions) tokens += (await tokenize(engine, question, signal)).count;
    return { tokens, estimated: false };
  } catch {
    return estimate;
  } finally {
    inFlight -= 1;
  }
}

/** Asks an engine how it cuts a text into tokens. Rejects where it cannot tell. */
export async function tokenize(
  engine: EngineAddress,
  question: JsonObject,
  signal: AbortSignal,
): Promise<{ readonly count: number; readonly tokens: readonly number[] }> {
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
  const answer = (await response.json()) as { count?: unknown; tokens?: unknown };
  const { count, tokens } = answer;
  if (response.status !== 200 || typeof count !== "number" || !Number.isSafeInteger(count) || count < 0) {
    throw new Error("no count");
  }
  return { count, tokens: Array.isArray(tokens) ? (tokens as number[]) : [] };
}
