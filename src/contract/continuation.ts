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
  /** The stop string that the client was told of as the end; absent or null where there was none. */
  readonly stopReason?: string | null;
  /** Responses API: the last sequence number, the open item's id, and the response as it was begun. */
  readonly sequence: number;
  readonly itemId: string | null;
  readonly response: { readonly [name: string]: unknown } | null;
  /** What the client has of one more event, after one that began the end; absent or empty where it has no half. */
  readonly half?: string;
  /** How the answer ends, where the engine had said all of it and the client has not got all; absent or null elsewhere. */
  readonly ends?: Ends | null;
}

/** The end of an answer that a stop string ended: its last text stops inside a token, so no engine can go on after it. */
export interface Ends {
  readonly stopReason: string;
  /** What the client does not have yet. */
  readonly text: string;
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
    (value.response === null || isRecord(value.response)) &&
    (value.stopReason === undefined || value.stopReason === null || typeof value.stopReason === "string") &&
    (value.half === undefined || typeof value.half === "string") &&
    (value.ends === undefined || value.ends === null || isEnds(value.ends))
  );
}

function isEnds(value: unknown): value is Ends {
  return isRecord(value) && typeof value.stopReason === "string" && typeof value.text === "string";
}

function isRecord(value: unknown): value is { [name: string]: unknown } {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** What a stream has cost up to its cut, and the client has got for it. */
export interface Told {
  readonly promptTokens: number;
  readonly outputTokens: number;
}

/** Why a gate hands a stream over that still runs: it leaves itself, the replica does, or the whole pool. */
export const AWAY = ["gate", "replica", "pool"] as const;
export type Away = (typeof AWAY)[number];

/**
 * What a gate tells the edge inside a stream, in a comment, which every client skips: its last words before it cuts the
 * stream off, and the end of a text before it sends that.
 */
export interface Aside {
  /** Only the gate has counted the tokens; null where it has not: the text is to be counted anew. */
  readonly told: Told | null;
  /** Set where nothing has failed: the stream is handed over. */
  readonly away: Away | null;
  readonly ends: Ends | null;
  /** Of a stream that was carried on: what it had cost before this gate took it up. Not what it costs by now. */
  readonly paid: Told | null;
  /** Characters before here that half an event showed: the text ends inside a token until more of it comes. */
  readonly shown: number | null;
}

const NO_ASIDE: Aside = { told: null, away: null, ends: null, paid: null, shown: null };
const ASIDE = ": meridian ";

export function aside(parts: Partial<Aside>): string {
  const { told, ...others } = { ...NO_ASIDE, ...parts };
  const given = Object.entries(others).filter(([, value]) => value !== null);
  const said = { ...told, ...Object.fromEntries(given) };
  return `${ASIDE}${JSON.stringify(said)}\n\n`;
}

/** Said before the last text and the end that a stop string makes of it. `whole`: what the whole stream costs, if known. */
export function endAside(stopReason: string, text: string, whole: Told | null): string {
  const told = whole === null ? null : { promptTokens: whole.promptTokens, outputTokens: whole.outputTokens };
  return aside({ told, ends: { stopReason, text } });
}

/** The aside in an event's text, or null when it is something else. */
export function readAside(raw: string): Aside | null {
  if (!raw.startsWith(ASIDE)) return null;
  try {
    const said: unknown = JSON.parse(raw.slice(ASIDE.length));
    if (!isRecord(said)) return null;
    return {
      told: toldIn(said),
      paid: isRecord(said.paid) ? toldIn(said.paid) : null,
      away: AWAY.find((one) => one === said.away) ?? null,
      ends: isEnds(said.ends) ? said.ends : null,
      shown: Number.isSafeInteger(said.shown) ? Number(said.shown) : null,
    };
  } catch {
    return null;
  }
}

function toldIn(value: { readonly [name: string]: unknown }): Told | null {
  const { promptTokens, outputTokens } = value as unknown as Told;
  const counted = [promptTokens, outputTokens].every((count) => Number.isSafeInteger(count) && count >= 0);
  return counted ? { promptTokens, outputTokens } : null;
}
