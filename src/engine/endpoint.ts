import type { OriginOrder } from "../contract/origin-token.ts";
import type { Usage } from "../contract/report.ts";
import type { ErrorShape, Failure } from "../errors.ts";
import type { SseEvent } from "./sse.ts";

/**
 * One endpoint of the data plane. vLLM serves them all, so an endpoint is an adapter with two halves: the edge
 * half reads a request (what may pass, what it will cost); the gate half speaks to the engine (what to ask for,
 * how to count, how to end).
 */
export type EndpointId =
  | "chat"
  | "completions"
  | "responses"
  | "messages"
  | "embeddings"
  | "rerank"
  | "score"
  | "tokenize";

export type JsonObject = { [name: string]: unknown };

/** Characters of a prompt by class of text: tokens per character differ by class (limits/estimate.ts). */
export interface TextMeasure {
  /** ASCII of texts like English. */
  readonly proseChars: number;
  /** ASCII of texts like code and JSON: many digits and signs. */
  readonly codeChars: number;
  /** Chinese, Japanese, Korean. */
  readonly cjkChars: number;
  readonly otherChars: number;
}

/** What the edge knows of a request after it parsed it, once. No text of it is kept here. */
export interface Call {
  readonly endpoint: EndpointId;
  readonly model: string;
  readonly stream: boolean;
  /** The client's output limit, or null when it set none. */
  readonly maxOutputTokens: number | null;
  /** Sequences that the engine will generate (`n`, or the number of prompts times `n`). */
  readonly choices: number;
  readonly measure: TextMeasure;
  /** Tokens that do not depend on text: message frames of the template, images by their size, token-id input. */
  readonly fixedTokens: number;
  /** False for embeddings, rerank, score and tokenize: no output tokens. */
  readonly generates: boolean;
  /** One JSON that the engine makes alone (mode `whole`): nobody can count its output before its end. */
  readonly atOnce?: boolean;
  /** The client's name for its end user (`safety_identifier`, `user`, `metadata.user_id`), or null. */
  readonly endUser: string | null;
}

export type Parsed = { ok: true; call: Call } | { ok: false; failure: Failure };

/** How the gate talks to the engine for this request. */
export type Mode =
  /** The client streams and so does the engine. */
  | "stream"
  /** The client wants one JSON; the engine streams, so that an abort is billed exactly and silence is seen. */
  | "aggregate"
  /** One JSON from the engine: where an aggregate would not be exact, and for all that does not generate. */
  | "whole";

export interface Prepared {
  readonly mode: Mode;
  /** The body for the engine. */
  readonly body: JsonObject;
}

/** What one event of the engine's stream means. */
export interface StreamStep {
  /** Text to send to the client for it (whole events, with their blank lines); empty: nothing. */
  readonly forward: string;
  /** True when it carried generated output (not a comment, not usage alone). */
  readonly progressed: boolean;
  /** Set once the engine said how it ended: all choices finished and usage known, or its own failure. */
  readonly end?: "complete" | { readonly engineError: string; readonly status: number };
  /** With a complete end: the engine does not know of it and still runs. */
  readonly enough?: boolean;
}

/** Reads one engine stream event by event: counts, cuts out what the client did not ask for, knows the end. */
export interface StreamReader {
  take(event: SseEvent): StreamStep;
  /** Tokens so far. */
  usage(): Usage;
  /**
   * Tokens up to the last text that the client got: what a stream has cost that is cut off here and carried on elsewhere.
   * Null where the engine does not count as it goes.
   */
  delivered?(): Usage | null;
  /** The same for the whole stream, where this reader goes on with one that broke off elsewhere. */
  told?(): Usage | null;
  /** True once an engine told the prompt's tokens. */
  readonly promptKnown: boolean;
  /** Frames that end the client's stream properly now, with `finish_reason: "length"` (a budget's stop). */
  stopNow(): string;
  /** Frames that end the client's stream with an error its SDK understands. Never a false end. */
  failNow(failure: Failure): string;
}

/** The same for mode `aggregate`: events in, one JSON out, equal to the engine's own field by field. */
export interface Aggregator extends StreamReader {
  /** The whole answer. Throws unless the stream was complete or stopped. */
  whole(): JsonObject;
}

export interface Endpoint {
  readonly id: EndpointId;
  /** The client's path. */
  readonly path: string;
  /** The engine's path. */
  readonly enginePath: string;
  readonly errorShape: ErrorShape;
  /** Edge half: validates against the allow-list and measures. Never throws. */
  parse(body: unknown): Parsed;
  /** Gate half: the engine's body for an order. `body` was accepted by `parse` at the edge. */
  prepare(body: JsonObject, order: OriginOrder): Prepared;
  /** For mode `stream`. `body` is the client's own, as it tells what the client asked to see. */
  reader(body: JsonObject, order: OriginOrder): StreamReader;
  /** For mode `aggregate`. */
  aggregator(body: JsonObject, order: OriginOrder): Aggregator;
  /** For mode `whole`: usage of the engine's JSON, or null when it does not say. */
  wholeUsage(answer: JsonObject): Usage | null;
}
