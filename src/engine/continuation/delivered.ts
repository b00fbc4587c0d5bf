import {
  type Aside,
  type Away,
  aside,
  type Continuation,
  type Ends,
  readAside,
  type Told,
} from "../../contract/continuation.ts";
import type { EndpointId, JsonObject } from "../endpoint.ts";
import { isJsonObject } from "../schema.ts";
import { type SseEvent, SseParser } from "../sse.ts";
import { type Completed, completeHalf } from "./half.ts";

/** What a client has of a stream that broke off. */
export interface Delivered {
  readonly continuation: Continuation;
  /** What to send first: the rest of a half event, or nothing. */
  readonly tail: string;
  readonly told: Told | null;
  /** What was told came before the end, not as last words: whether its gate lived to report it is not known. */
  readonly unreported: boolean;
  /** Set where the gate handed the stream over and nothing has failed. */
  readonly away: Away | null;
  /** What had been charged before the attempt that broke off; null where it was the first. */
  readonly paid: Told | null;
  /** Nothing is missing: only the connection broke. */
  readonly complete: boolean;
}

type Notes = { -readonly [name in keyof Continuation]: Continuation[name] } & {
  pattern: string | null;
  complete: boolean;
};

/**
 * Reads what a client got, from the bytes themselves. Null where another engine cannot go on from it: reasoning, a tool
 * call, an error, a half character, or a half event that cannot be made whole.
 * @param exact whether the engine will say the same again (temperature 0): then text that is shown by a half event is
 * generated anew and swallowed, else the engine goes on right after it
 */
export function readDelivered(endpoint: EndpointId, bytes: Uint8Array, exact: boolean): Delivered | null {
  const cut = endOfEvents(bytes);
  const notes: Notes = {
    ...{ id: null, created: null, text: "", shown: "", opened: 0, closed: 0, finishReason: null },
    stopReason: null,
    ...{ sequence: -1, itemId: null, response: null, pattern: null, complete: false },
  };
  const heard = new Heard();
  for (const event of new SseParser().push(bytes.subarray(0, cut))) {
    if (event.garbage) return null;
    if (event.comment) heard.take(readAside(event.raw), notes.text.length);
    else if (!note(endpoint, event, notes)) return null;
  }
  let half: string;
  try {
    half = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes.subarray(cut));
  } catch {
    return null;
  }
  // After the first event of the end each one is known to the gate that writes the rest: it goes on inside it.
  const isEnd = notes.closed > 0 && !notes.complete && !half.startsWith(":");
  if (isEnd) notes.half = half;
  const isWhole = half === "" || isEnd;
  const completed = isWhole ? { tail: "", shown: "" } : completeHalf(endpoint, half, notes.pattern);
  // What a decoder put in place of a half character is not what the engine said.
  if (completed === null || (notes.text + completed.shown).includes("\u{fffd}")) return null;
  const { pattern: _pattern, complete, ...continuation } = notes;
  if (completed.tail !== "" && !half.startsWith(":")) continuation.sequence += 1;
  const { last, textBeforeEnd, unreported } = heard;
  if (last.ends !== null) {
    return { ...ending(continuation, last, complete, textBeforeEnd, completed), unreported };
  }
  const { shown, tail } = completed;
  // The gate counted whole events; where a half one is text now, the tokens are to be counted by the text.
  const told = shown === "" ? last.told : null;
  const rest = { told, unreported: false, away: last.away, paid: last.paid, complete };
  if (!exact) return { continuation: { ...continuation, text: continuation.text + shown }, tail, ...rest };
  // What half an event showed before an earlier cut, where nothing was said since, will be said again like the rest.
  const { text } = continuation;
  const tokenEnd = continuation.closed > 0 ? text.length : heard.tokenEnd(text.length);
  const again = text.slice(tokenEnd) + shown;
  const marked = shown === "" ? tail : tail + aside({ shown: again.length });
  return {
    continuation: { ...continuation, text: text.slice(0, tokenEnd), shown: again },
    tail: marked,
    ...rest,
  };
}

/** What gates said beside the stream. */
class Heard {
  last: Aside = { told: null, away: null, ends: null, paid: null, shown: null };
  textBeforeEnd = 0;
  unreported = false;
  #inToken: { readonly atChars: number; readonly shownChars: number } | null = null;

  /** @param textChars text that the client had by then */
  take(said: Aside | null, textChars: number): void {
    if (said === null) return;
    const ends = said.ends ?? this.last.ends;
    // Once the end was told with what it costs, nothing adds to that.
    const told = said.told ?? (ends === null ? null : this.last.told);
    this.last = { ...said, told, ends, paid: said.paid ?? this.last.paid };
    // Last words are no more than that.
    if (said.told !== null) this.unreported = said.ends !== null;
    if (said.ends !== null) this.textBeforeEnd = textChars;
    if (said.shown !== null) this.#inToken = { atChars: textChars, shownChars: said.shown };
  }

  /** Where the last token ends in a text of so many characters. */
  tokenEnd(textChars: number): number {
    if (this.#inToken?.atChars !== textChars) return textChars;
    return Math.max(0, textChars - this.#inToken.shownChars);
  }
}

/** The answer's end is known: nobody has to be asked for it, and what it costs was told with it. */
function ending(
  continuation: Continuation,
  { told, ends, away, paid }: Aside,
  complete: boolean,
  textBeforeEnd: number,
  { tail, shown }: Completed,
): Omit<Delivered, "unreported"> {
  const text = continuation.text + shown;
  const rest = (ends as Ends).text.slice(text.length - textBeforeEnd);
  return {
    continuation: { ...continuation, text, ends: { ...(ends as Ends), text: rest } },
    ...{ tail, told, away, paid, complete },
  };
}

/** Bytes up to and with the last blank line. */
function endOfEvents(bytes: Uint8Array): number {
  for (let end = bytes.length; end >= 2; end--) {
    if (bytes[end - 1] === 0x0a && bytes[end - 2] === 0x0a) return end;
  }
  return 0;
}

/** Takes one event into account. False where no other engine could go on after it. */
function note(endpoint: EndpointId, event: SseEvent, notes: Notes): boolean {
  if (event.data === "[DONE]") {
    notes.complete = true;
    return true;
  }
  let frame: unknown;
  try {
    frame = JSON.parse(event.data);
  } catch {
    return false;
  }
  if (!isJsonObject(frame) || given(frame.error)) return false;
  switch (endpoint) {
    case "chat":
    case "completions":
      return noteChoice(frame, event.raw, notes);
    case "messages":
      return noteMessage(frame, event.raw, notes);
    case "responses":
      return noteResponse(frame, event.raw, notes);
    default:
      return false;
  }
}

function noteChoice(frame: JsonObject, raw: string, notes: Notes): boolean {
  if (!Array.isArray(frame.choices)) return false;
  notes.id = typeof frame.id === "string" ? frame.id : notes.id;
  notes.created = typeof frame.created === "number" ? frame.created : notes.created;
  const choice: unknown = frame.choices[0];
  if (choice === undefined) {
    notes.closed = 2;
    return true;
  }
  if (!isJsonObject(choice)) return false;
  const delta = isJsonObject(choice.delta) ? choice.delta : {};
  if (delta.reasoning || delta.reasoning_content) return false;
  if (Array.isArray(delta.tool_calls) && delta.tool_calls.length > 0) return false;
  notes.opened = 1;
  const text = delta.content ?? choice.text;
  const finished = typeof choice.finish_reason === "string";
  if (typeof text === "string") notes.text += text;
  if (typeof text === "string" && !finished && delta.role === undefined) notes.pattern = raw;
  if (finished) {
    notes.finishReason = String(choice.finish_reason);
    notes.stopReason = textOrNull(choice.stop_reason);
    notes.closed = 1;
  }
  return true;
}

function noteMessage(frame: JsonObject, raw: string, notes: Notes): boolean {
  switch (frame.type) {
    case "message_start":
      notes.opened = 1;
      notes.id = isJsonObject(frame.message) ? String(frame.message.id) : null;
      return true;
    case "content_block_start":
      notes.opened = 2;
      return isJsonObject(frame.content_block) && frame.content_block.type === "text" && frame.index === 0;
    case "content_block_delta": {
      if (!isJsonObject(frame.delta) || typeof frame.delta.text !== "string") return false;
      notes.text += frame.delta.text;
      notes.pattern = raw;
      return true;
    }
    case "content_block_stop":
      notes.closed = 1;
      return true;
    case "message_delta":
      notes.closed = 2;
      if (!isJsonObject(frame.delta)) return false;
      notes.finishReason = frame.delta.stop_reason === "max_tokens" ? "length" : "stop";
      notes.stopReason = textOrNull(frame.delta.stop_sequence);
      return true;
    case "message_stop":
      notes.complete = true;
      return true;
    default:
      return frame.type === "ping";
  }
}

function noteResponse(frame: JsonObject, raw: string, notes: Notes): boolean {
  if (typeof frame.sequence_number === "number") notes.sequence = frame.sequence_number;
  switch (frame.type) {
    case "response.created":
      notes.response = isJsonObject(frame.response) ? frame.response : null;
      notes.opened = 1;
      return notes.response !== null;
    case "response.queued":
      return true;
    case "response.in_progress":
      notes.opened = 2;
      return true;
    case "response.output_item.added":
      if (!isJsonObject(frame.item) || frame.item.type !== "message" || frame.output_index !== 0)
        return false;
      notes.itemId = String(frame.item.id);
      notes.opened = 3;
      return true;
    case "response.content_part.added":
      notes.opened = 4;
      return true;
    case "response.output_text.delta":
      notes.text += String(frame.delta);
      notes.pattern = raw;
      return true;
    case "response.output_text.done":
    case "response.content_part.done":
    case "response.output_item.done":
      notes.closed += 1;
      return true;
    default:
      notes.complete = frame.type === "response.completed";
      return notes.complete;
  }
}

function textOrNull(value: unknown): string | null {
  return typeof value === "string" ? value : null;
}

function given(value: unknown): boolean {
  return value !== undefined && value !== null;
}
