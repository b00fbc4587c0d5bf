import { readFileSync } from "node:fs";
import type { OriginOrder } from "../../../src/contract/origin-token.ts";
import type { JsonObject, StreamReader, StreamStep } from "../../../src/engine/endpoint.ts";
import { type SseEvent, SseParser } from "../../../src/engine/sse.ts";

const FIXTURES = new URL("../../fixtures/vllm/", import.meta.url);

/** What a real vLLM answered, byte for byte. */
export function fixture(file: string): Uint8Array {
  return new Uint8Array(readFileSync(new URL(file, FIXTURES)));
}

export function fixtureText(file: string): string {
  return readFileSync(new URL(file, FIXTURES), "utf8");
}

export function fixtureJson(file: string): JsonObject {
  return JSON.parse(fixtureText(file)) as JsonObject;
}

interface Recorded {
  readonly file: string;
  readonly status: number;
  readonly request: { readonly path: string; readonly body: JsonObject };
}

/** What was asked of the real vLLM, and its status. */
export function recorded(file: string): Recorded {
  const index = fixtureJson("index.json") as unknown as { fixtures: Recorded[] };
  const found = index.fixtures.find((one) => one.file === file);
  if (found === undefined) throw new Error(`no fixture ${file}`);
  return found;
}

export const ORDER: OriginOrder = {
  pool: "us-east",
  secretVersion: 1,
  requestId: "req_1",
  attempt: 0,
  path: "/v1/chat/completions",
  replica: "r1",
  servedModel: "smol",
  startByMs: 1_795_409_128_000,
  deadlineMs: 1_795_409_928_000,
  firstTokenTimeoutMs: 10_000,
  tokenGapTimeoutMs: 20_000,
  cacheSalt: "salt-of-the-tenant",
  maxOutputTokens: null,
  estimatedPromptTokens: 99,
  ticket: "ticket",
};

export function eventsOf(bytes: Uint8Array): SseEvent[] {
  const parser = new SseParser();
  const events = parser.push(bytes);
  if (parser.end()) throw new Error("half an event was left");
  return events;
}

export interface Run {
  readonly text: string;
  readonly end: StreamStep["end"];
  /** Events that carried generated output. */
  readonly progressed: number;
}

/** Feeds a reader as the gate does: until it says that the stream ended. */
export function run(reader: StreamReader, events: readonly SseEvent[]): Run {
  let text = "";
  let progressed = 0;
  for (const event of events) {
    const step = reader.take(event);
    text += step.forward;
    if (step.progressed) progressed += 1;
    if (step.end !== undefined) return { text, end: step.end, progressed };
  }
  return { text, end: undefined, progressed };
}

/** Frames of a stream as JSON, `[DONE]` as it is. */
export function framesOf(text: string): (JsonObject | string)[] {
  return eventsOf(new TextEncoder().encode(text))
    .filter((event) => !event.comment)
    .map((event) => (event.data === "[DONE]" ? event.data : (JSON.parse(event.data) as JsonObject)));
}

/** A copy without what differs from answer to answer, at any depth. */
export function timeless(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(timeless);
  if (typeof value !== "object" || value === null) return value;
  const changing = new Set(["id", "created", "created_at", "system_fingerprint", "item_id", "signature"]);
  const kept = Object.entries(value).filter(([key]) => !changing.has(key));
  return Object.fromEntries(kept.map(([key, one]) => [key, timeless(one)]));
}
