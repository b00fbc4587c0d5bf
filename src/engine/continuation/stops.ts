import type { JsonObject } from "../endpoint.ts";

/**
 * Stop strings. vLLM holds the last (longest stop string − 1) characters of a text back and lets them go in the middle of
 * tokens, and cuts the last token's text off before the stop string, so that no other engine could go on after what a
 * client has. Asked to show its stop
 * strings (`include_stop_str_in_output`) it holds nothing back and every frame ends with a token. So the gate asks for
 * that, holds back by itself, in whole frames and only what may be the beginning of a stop string, and takes the stop
 * string out of the text. What was held when a stream broke off is generated anew.
 */
export interface StopPlan {
  readonly stops: readonly string[];
  /** The client wants to see the stop string. */
  readonly shows: boolean;
  /** No stop string counts before so many tokens. */
  readonly minTokens: number;
}

/** What is to be held back for a request, or null where the engine's own way serves. */
export function stopPlan(body: JsonObject): StopPlan | null {
  const given = [body.stop, body.stop_sequences].flat();
  const stops = given.filter((stop): stop is string => typeof stop === "string" && stop !== "");
  if (stops.length === 0) return null;
  const minTokens = typeof body.min_tokens === "number" ? body.min_tokens : 0;
  return { stops, shows: body.include_stop_str_in_output === true, minTokens };
}

/** True where a stop token's own text could not be told from the rest, once the engine shows how it stopped. */
export function hidesStopTokens(body: JsonObject): boolean {
  return Array.isArray(body.stop_token_ids) && body.stop_token_ids.length > 0;
}

interface Frame {
  readonly text: string;
  readonly tokens: number;
}

/** What a client gets now, and the output tokens up to its end; null where it gets nothing. */
export type Let = { readonly text: string; readonly tokens: number } | null;

/** Holds frames back while their text may be the beginning of a stop string. One per answer. */
export class StopHold {
  readonly #plan: StopPlan;
  /** Longest text that may be the beginning of a stop string, in characters. */
  readonly #reach: number;
  /** The end of what the client has, as far as a stop string could have begun in it. */
  #sent: string;
  #held: Frame[] = [];
  /** Of a text that was begun elsewhere: its end, and what was said since. */
  #before: string;
  #since = "";

  /** @param before the text that the client has of the same answer from another engine */
  constructor(plan: StopPlan, before = "") {
    this.#plan = plan;
    this.#reach = Math.max(...plan.stops.map((stop) => stop.length)) - 1;
    this.#before = this.#tail(before);
    this.#sent = this.#before;
  }

  /** Takes the text of one frame, which ends with a token. `tokens`: of the whole answer up to there. */
  push(text: string, tokens: number): Let {
    if (text !== "") this.#held.push({ text, tokens });
    const all = this.#sent + this.#heldText();
    let kept = this.#beginningAtEnd(all);
    const still: Frame[] = [];
    while (kept > 0 && this.#held.length > 0) {
      const frame = this.#held.pop()!;
      still.unshift(frame);
      kept -= frame.text.length;
    }
    const last = this.#held.at(-1);
    const free = this.#heldText();
    this.#held = still;
    this.#sent = this.#tail(this.#sent + free);
    return last === undefined ? null : { text: free, tokens: last.tokens };
  }

  /**
   * The rest of a text that has ended, without the stop string that ended it.
   * @param stopReason what the engine names as the reason: a stop string, or anything else
   */
  end(text: string, tokens: number, stopReason: unknown): Let {
    if (text !== "") this.#held.push({ text, tokens });
    const rest = this.#heldText();
    const last = this.#held.at(-1);
    this.#held = [];
    if (last === undefined) return null;
    const hide = !this.#plan.shows && typeof stopReason === "string" && rest.endsWith(stopReason);
    return { text: hide ? rest.slice(0, rest.length - stopReason.length) : rest, tokens: last.tokens };
  }

  /**
   * The stop string that began in another engine's text and ends in this one's, which this engine cannot see; null where
   * there is none. An engine that says the same again never makes one: what may begin a stop string was held back. One
   * that samples may. Called with each text before `push`.
   * @param tokensBefore of the whole answer before this text: of a text of several tokens it is not known which of them
   * a stop string ends in, and some may come before it counts
   */
  straddles(text: string, tokensBefore: number): { readonly stop: string; readonly shown: string } | null {
    if (this.#before === "") return null;
    const said = this.#since.length;
    const all = this.#before + this.#since + text;
    this.#since += text;
    if (tokensBefore >= this.#plan.minTokens) {
      for (const stop of this.#plan.stops) {
        // One that ended before this text did not count.
        const at = all.indexOf(stop, Math.max(0, this.#before.length + said - stop.length + 1));
        if (at < 0 || at >= this.#before.length) continue;
        const end = at + stop.length - this.#before.length;
        return { stop, shown: this.#plan.shows ? this.#heldText() + this.#since.slice(said, end) : "" };
      }
    }
    if (this.#since.length >= this.#reach) this.#before = "";
    return null;
  }

  #heldText(): string {
    return this.#held.map(({ text }) => text).join("");
  }

  /** Length of the longest end of `text` with which a stop string begins, and is not over. */
  #beginningAtEnd(text: string): number {
    for (let length = Math.min(this.#reach, text.length); length > 0; length--) {
      const end = text.slice(text.length - length);
      if (this.#plan.stops.some((stop) => stop.length > length && stop.startsWith(end))) return length;
    }
    return 0;
  }

  #tail(text: string): string {
    return this.#reach === 0 ? "" : text.slice(-this.#reach);
  }
}
