import type { Failure } from "../errors.ts";
import { errorBody } from "../errors.ts";
import type { JsonObject, StreamStep } from "./endpoint.ts";
import { readEngineError, statusOfFrame } from "./failure.ts";
import { isJsonObject } from "./schema.ts";
import type { SseEvent } from "./sse.ts";

/** What the stream readers of all endpoints share: parsing a frame, cutting and rewriting its text, ends. */

/** The end of a stream that is not a proper one. */
export type EngineEnd = { readonly engineError: string; readonly status: number };

export const NOTHING: StreamStep = { forward: "", progressed: false };

/** The engine sent what no engine sends. */
export function broken(why: string): EngineEnd {
  return { engineError: why, status: 502 };
}

export function ended(end: "complete" | EngineEnd, forward = "", progressed = false): StreamStep {
  return { forward, progressed, end };
}

/** The frame's JSON object, or how the stream ended: garbage, malformed JSON, an error frame. */
export function frameOf(event: SseEvent): { frame: JsonObject } | { end: EngineEnd } {
  if (event.garbage) return { end: broken("an event longer than any engine sends") };
  let frame: unknown;
  try {
    frame = JSON.parse(event.data);
  } catch {
    return { end: broken("a frame that is not JSON") };
  }
  if (!isJsonObject(frame)) return { end: broken("a frame that is not a JSON object") };
  if (frame.error !== undefined && frame.error !== null) {
    const status = statusOfFrame(frame);
    const { message } = readEngineError(status, frame);
    return { end: { engineError: message || "an error frame without a message", status } };
  }
  return { frame };
}

const USAGE_KEY = ',"usage":{';

/**
 * The event's text without its top-level `usage`, or null where the text is not as vLLM writes it. A quote inside
 * a JSON string is always escaped, so the key's text can only be a key; and a usage object holds numbers and
 * objects of numbers, so braces in it are only braces.
 */
export function withoutUsage(raw: string): string | null {
  const start = raw.lastIndexOf(USAGE_KEY);
  if (start < 0) return null;
  let depth = 1;
  for (let index = start + USAGE_KEY.length; index < raw.length; index++) {
    const unit = raw.charCodeAt(index);
    if (unit === OPEN_BRACE) depth++;
    else if (unit === CLOSE_BRACE && --depth === 0) return raw.slice(0, start) + raw.slice(index + 1);
  }
  return null;
}

const OPEN_BRACE = 0x7b;
const CLOSE_BRACE = 0x7d;

const MODEL_VALUE = /"model":"(?:[^"\\]|\\.)*"/;

/** The event's text with the first `model` renamed: the client asked for a model, not for what an engine calls it. */
export function withModel(raw: string, model: string): string {
  return raw.replace(MODEL_VALUE, () => `"model":${JSON.stringify(model)}`);
}

export function dataFrame(value: unknown): string {
  return `data: ${JSON.stringify(value)}\n\n`;
}

export function namedFrame(event: string, value: unknown): string {
  return `event: ${event}\ndata: ${JSON.stringify(value)}\n\n`;
}

/** OpenAI's SDKs throw on a frame with `error`. No `[DONE]` follows: a broken answer has no proper end. */
export function openaiError(failure: Failure): string {
  return dataFrame(errorBody(failure, "openai"));
}

export const DONE = "data: [DONE]\n\n";

/** A count as an engine states it; null for all that is no count. */
export function tokensOf(value: unknown): number | null {
  return typeof value === "number" && Number.isSafeInteger(value) && value >= 0 ? value : null;
}
