import type { Failure } from "../errors.ts";
import type { JsonObject } from "./endpoint.ts";
import { isJsonObject } from "./schema.ts";

/** An engine's error answer, whatever its shape was. */
export interface EngineError {
  readonly status: number;
  readonly message: string;
  readonly param: string | null;
}

/** What an engine's error means for the request and for the replica. */
export type EngineVerdict =
  /** The client's own mistake, as the engine sees it: told to the client, never held against the replica. */
  | { readonly kind: "refused"; readonly failure: Extract<Failure, { tag: "origin_refused" }> }
  /** Full: the same request may succeed elsewhere. */
  | { readonly kind: "overloaded"; readonly message: string }
  /** Shutting down: takes nothing new, while its health check still says 200. */
  | { readonly kind: "draining"; readonly message: string }
  | { readonly kind: "failed"; readonly message: string };

const MESSAGE_MAX_CHARS = 2_000;

/**
 * Reads an error body of vLLM 0.32. Three shapes: an `error` object (also inside Anthropic's envelope), an `error`
 * string (the key check), and FastAPI's `detail` (no such route). Anything else gives an empty message.
 * @param status of the HTTP answer; inside a stream, what `error.code` says, or 500.
 */
export function readEngineError(status: number, body: unknown): EngineError {
  const answer = typeof body === "string" ? parseOrNull(body) : body;
  if (!isJsonObject(answer)) return { status, message: "", param: null };
  const { error, detail } = answer;
  if (isJsonObject(error)) {
    return { status, message: shorten(error.message), param: textOrNull(error.param) };
  }
  return { status, message: shorten(typeof error === "string" ? error : detail), param: null };
}

/** The status that an error frame inside a 200 stream states; OpenAI's own string codes do not count. */
export function statusOfFrame(frame: JsonObject): number {
  const code = isJsonObject(frame.error) ? frame.error.code : undefined;
  return typeof code === "number" && Number.isInteger(code) && code >= 400 && code <= 599 ? code : 500;
}

/** Statuses that say something about the request itself; all else is about the replica or this router. */
const CLIENT_STATUSES = new Set([400, 404, 413, 422]);

export function classifyEngineError(error: EngineError): EngineVerdict {
  const { status, message } = error;
  if (status === 429 || status === 503) return { kind: "overloaded", message };
  // Python's thread pool says so while the server drains; the status is 500 like a crash's, but nothing is broken.
  if (message.includes("cannot schedule new futures after shutdown")) return { kind: "draining", message };
  // The edge chose the model's name, so a replica that lacks it is the wrong one.
  if (status === 404 && /^The model .* does not exist/.test(message)) return { kind: "failed", message };
  if (!CLIENT_STATUSES.has(status)) return { kind: "failed", message: message || `status ${status}` };
  const param = error.param === null ? null : error.param.replace(/^body\./, "");
  return { kind: "refused", failure: { tag: "origin_refused", status, message: forClients(message), param } };
}

/**
 * The engine's reason without what names the origin: the aliases that a replica serves, its command line's flags,
 * addresses.
 */
export function forClients(message: string): string {
  // FastAPI's answer to an unknown route: a model of the right kind, but of a task that has no such endpoint.
  if (message === "Not Found") return "This model does not serve this endpoint.";
  if (message.includes("--tool-call-parser")) return "This model's server does not take tool calls.";
  const cleaned = message
    .replace(/ Valid aliases: [^\n]*/g, "")
    .replace(/https?:\/\/\S+/g, "")
    .replace(/\b\d{1,3}(?:\.\d{1,3}){3}(?::\d+)?\b/g, "")
    .replace(/[^.\n]*(?:^|[\s`'])--[a-z][a-z-]+[^.\n]*\.?/g, "")
    .trim();
  return cleaned === "" ? "The model's server did not accept this request." : cleaned;
}

function parseOrNull(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}

function shorten(value: unknown): string {
  if (value === undefined || value === null) return "";
  return (typeof value === "string" ? value : JSON.stringify(value)).slice(0, MESSAGE_MAX_CHARS);
}

function textOrNull(value: unknown): string | null {
  return typeof value === "string" && value !== "" ? value : null;
}
