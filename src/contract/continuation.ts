/**
 * What the edge tells a second gate of a stream that broke off, so that it can be carried on. It travels beside the
 * client's own body, in one JSON: `{"continuation": …, "body": …}`. What decides the bill is not in here but in the
 * signed order (origin-token.ts, `continues`).
 */
export interface Continuation {
  /** The answer's id and time as the client has seen them; null where it has seen none. */
  readonly id: string | null;
  readonly created: number | null;
  /** All text of the whole events that the client has. The engine goes on after it. */
  readonly text: string;
  /** Text beyond `text` that the client has from a half event; the engine will say it again, and it is swallowed. */
  readonly shown: string;
  /** How many of the events that begin an answer, and of those that end it, the client has. */
  readonly opened: number;
  readonly closed: number;
  readonly finishReason: string | null;
  /** Responses API: the last sequence number, the open item's id, and the response as it was begun. */
  readonly sequence: number;
  readonly itemId: string | null;
  readonly response: { readonly [name: string]: unknown } | null;
}

/** Only between edge and gate. */
export const CONTINUATION_TYPE = "application/vnd.meridian.continuation+json";

/** The client's bytes stay as they came: nothing is serialised anew. */
export function envelope(continuation: Continuation, body: Uint8Array): Uint8Array<ArrayBuffer> {
  const encoder = new TextEncoder();
  const head = encoder.encode(`{"continuation":${JSON.stringify(continuation)},"body":`);
  const bytes = new Uint8Array(head.length + body.length + 1);
  bytes.set(head);
  bytes.set(body, head.length);
  bytes[bytes.length - 1] = 0x7d;
  return bytes;
}

/** The two parts of an envelope, or null when it is none. */
export function openEnvelope(json: {
  readonly [name: string]: unknown;
}): { continuation: Continuation; body: { [name: string]: unknown } } | null {
  const { continuation, body } = json;
  if (!isRecord(continuation) || !isRecord(body) || !wellFormed(continuation)) return null;
  return { continuation: continuation as unknown as Continuation, body };
}

function wellFormed(value: { [name: string]: unknown }): boolean {
  const texts = [value.text, value.shown];
  const counts = [value.opened, value.closed, value.sequence];
  const namesOrNull = [value.id, value.finishReason, value.itemId];
  return (
    texts.every((text) => typeof text === "string") &&
    counts.every((count) => Number.isSafeInteger(count)) &&
    namesOrNull.every((name) => name === null || typeof name === "string") &&
    (value.created === null || Number.isFinite(value.created)) &&
    (value.response === null || isRecord(value.response))
  );
}

function isRecord(value: unknown): value is { [name: string]: unknown } {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** What a stream has cost up to its cut, and the client has got for it. */
export interface Told {
  readonly promptTokens: number;
  readonly outputTokens: number;
}

const FAREWELL = ": meridian ";

/**
 * A gate's last words before it cuts a stream off: a comment, which every client skips. Only the gate has counted the
 * tokens; the text alone would have to be counted anew.
 */
export function farewell(told: Told): string {
  return `${FAREWELL}${JSON.stringify(told)}\n\n`;
}

/** The last words in an event's text, or null when it is something else. */
export function readFarewell(raw: string): Told | null {
  if (!raw.startsWith(FAREWELL)) return null;
  try {
    const { promptTokens, outputTokens } = JSON.parse(raw.slice(FAREWELL.length)) as Told;
    const known = [promptTokens, outputTokens].every((count) => Number.isSafeInteger(count) && count >= 0);
    return known ? { promptTokens, outputTokens } : null;
  } catch {
    return null;
  }
}
