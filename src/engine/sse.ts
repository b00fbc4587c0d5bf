import { EVENT_MAX_BYTES } from "../bounds.ts";

/** One server-sent event (WHATWG HTML §9.2). */
export interface SseEvent {
  /** The `data` lines joined with newlines; empty for a comment. */
  readonly data: string;
  /** The `event` field, or null: OpenAI's streams have none, Anthropic's and the Responses API's do. */
  readonly event: string | null;
  /**
   * The event's exact text with its blank line, so that it can be forwarded as it came. Line ends other than
   * `\n` are given as `\n`; engines send only that, and for every client they mean the same.
   */
  readonly raw: string;
  /** True where there was no `data` line: keep-alive comments, blank lines, `retry:`. */
  readonly comment?: boolean;
  /** True where the stream sent more than `EVENT_MAX_BYTES` without ending an event. Nothing follows it. */
  readonly garbage?: boolean;
}

/**
 * Cuts a byte stream into server-sent events. The same bytes give the same events however they were split.
 * Text is held only until its event ends, and is joined once, so a long event in small pieces costs linear time.
 */
export class SseParser {
  readonly #decoder = new TextDecoder();
  #held: string[] = [];
  #heldChars = 0;
  #heldEndsLine = false;
  /** The last chunk ended with `\r`, which ended a line; a `\n` right after it belongs to the same line end. */
  #skipLineFeed = false;
  #dead = false;

  /** The events that end within `bytes`, in order. */
  push(bytes: Uint8Array): SseEvent[] {
    return this.#dead ? [] : this.#take(this.#decoder.decode(bytes, { stream: true }));
  }

  /** To be called at the end of the stream. True when it broke off inside an event. */
  end(): boolean {
    if (this.#dead) return true;
    const rest = this.#held.join("") + this.#decoder.decode();
    this.#dead = true;
    this.#held = [];
    return /[^\n]/.test(rest);
  }

  #take(decoded: string): SseEvent[] {
    let text = decoded.includes("\r") || this.#skipLineFeed ? this.#lineFeedsOnly(decoded) : decoded;
    if (text === "") return [];
    const joinsToBlankLine = this.#heldEndsLine && text.startsWith("\n");
    if (!joinsToBlankLine && !text.includes("\n\n")) return this.#hold(text);
    if (this.#held.length > 0) {
      this.#held.push(text);
      text = this.#held.join("");
      this.#held = [];
      this.#heldChars = 0;
    }
    const events: SseEvent[] = [];
    let start = 0;
    for (let end = text.indexOf("\n\n"); end >= 0; end = text.indexOf("\n\n", start)) {
      if (end + 2 - start > EVENT_MAX_BYTES) return this.#die(events);
      events.push(readEvent(text.slice(start, end + 2)));
      start = end + 2;
    }
    this.#heldEndsLine = false;
    const rest = text.slice(start);
    return rest === "" ? events : events.concat(this.#hold(rest));
  }

  /** Characters are counted, never more than bytes: what is held stays bounded, which is the point. */
  #hold(text: string): SseEvent[] {
    this.#held.push(text);
    this.#heldChars += text.length;
    this.#heldEndsLine = text.endsWith("\n");
    return this.#heldChars > EVENT_MAX_BYTES ? this.#die([]) : [];
  }

  #die(events: SseEvent[]): SseEvent[] {
    this.#dead = true;
    this.#held = [];
    events.push({ data: "", event: null, raw: "", garbage: true });
    return events;
  }

  #lineFeedsOnly(text: string): string {
    const own = this.#skipLineFeed && text.startsWith("\n") ? text.slice(1) : text;
    if (text !== "") this.#skipLineFeed = text.endsWith("\r");
    return own.replace(/\r\n?/g, "\n");
  }
}

function readEvent(raw: string): SseEvent {
  // The usual case of OpenAI's streams: one line.
  if (raw.startsWith("data: ") && raw.indexOf("\n") === raw.length - 2) {
    return { data: raw.slice(6, -2), event: null, raw };
  }
  let data: string | null = null;
  let event: string | null = null;
  for (const line of raw.split("\n")) {
    const colon = line.indexOf(":");
    const field = colon < 0 ? line : line.slice(0, colon);
    if (field !== "data" && field !== "event") continue;
    const value = colon < 0 ? "" : line.slice(line[colon + 1] === " " ? colon + 2 : colon + 1);
    if (field === "event") event = value;
    else data = data === null ? value : `${data}\n${value}`;
  }
  return data === null ? { data: "", event, raw, comment: true } : { data, event, raw };
}
