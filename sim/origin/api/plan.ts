/** What a parsed request asks of the engine, and how its answer is written. */
import { randomBytes } from "node:crypto";
import { hashText } from "../engine/hash.ts";
import type { Delta, Sampling } from "../engine/sequence.ts";
import type { Speaker } from "../model/language.ts";
import type { ReplicaOptions } from "../options.ts";
import type { ErrorShape } from "./errors.ts";

/** The version that is simulated. */
export const VERSION = "0.32.0";

/** One sequence to generate. */
export type Choice = {
  readonly index: number;
  readonly promptIds: readonly number[];
  readonly sampling: Sampling;
  readonly speaker: () => Speaker;
};

export type Plan = {
  readonly id: string;
  readonly choices: readonly Choice[];
  /** Prompt tokens as billed: each prompt once, however many choices it has. */
  readonly promptTokens: number;
  readonly stream: boolean;
  /** Whether `--sse-keep-alive-interval` applies; in vLLM only to chat and text completions. */
  readonly keepAlive: boolean;
  readonly errorShape: ErrorShape;
  readonly cacheSalt: string | undefined;
  readonly priority: number;
  readonly streamInterval: number;
  /** Writes the answer; `noUsage` leaves out every usage object. */
  readonly writer: (noUsage: boolean) => Writer;
};

/** Turns tokens into an answer. Pure but for its own counters: knows no socket. */
export type Writer = {
  /** Events sent with the headers, before anything is computed. */
  prelude?(): string[];
  /** Events that precede the first token. */
  begin(cachedTokens: number): string[];
  /** Events for one delta; none where a parser swallows it. */
  delta(delta: Delta): string[];
  /** Events after the last delta, `[DONE]` included where the API has one. */
  end(): string[];
  /** The whole answer as one JSON, from one joined delta per choice. */
  body(results: readonly Delta[], cachedTokens: number): object;
  /** Events for an engine that failed in the middle; undefined: the connection breaks off. */
  failure(error: object): string[] | undefined;
};

/** Ids as vLLM makes them: 16 hexadecimal digits. */
export function randomId(): string {
  return randomBytes(8).toString("hex");
}

export function dataEvent(value: object): string {
  return `data: ${JSON.stringify(value)}\n\n`;
}

/** An event with a name, as the Messages and Responses APIs have them. */
export function namedEvent(name: string, value: object): string {
  return `event: ${name}\ndata: ${JSON.stringify(value)}\n\n`;
}

export const DONE_EVENT = "data: [DONE]\n\n";

export function nowSeconds(): number {
  return Math.floor(Date.now() / 1000);
}

/** vLLM's fingerprint: version and eight hexadecimal digits of the settings. */
export function systemFingerprint(options: ReplicaOptions): string {
  const { id: _id, port: _port, host: _host, ...settings } = options;
  return `vllm-${VERSION}-${hashText(JSON.stringify(settings)).toString(16).padStart(8, "0")}`;
}
