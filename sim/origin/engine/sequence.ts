/**
 * What the API server does with one sequence's tokens: text, stop strings, limits, log probabilities. Rules as
 * in vLLM's output processor and detokenizer.
 */

import type { Speaker } from "../model/language.ts";
import { IncrementalDecoder, tokenText } from "../model/tokenizer.ts";
import { TURN_END } from "../model/vocabulary.ts";
import { mix, spread } from "./hash.ts";

export type Sampling = {
  readonly maxTokens: number;
  readonly minTokens: number;
  readonly stop: readonly string[];
  readonly stopTokenIds: readonly number[];
  readonly ignoreEos: boolean;
  readonly includeStop: boolean;
  /** Alternatives per position; undefined: no log probabilities. */
  readonly logprobs: number | undefined;
};

export type TokenLogprob = {
  readonly id: number;
  readonly token: string;
  readonly logprob: number;
  readonly top: readonly { readonly id: number; readonly token: string; readonly logprob: number }[];
};

/** What one or more tokens add to a choice. */
export type Delta = {
  readonly index: number;
  readonly text: string;
  readonly tokenIds: readonly number[];
  readonly logprobs: readonly TokenLogprob[] | undefined;
  readonly finish: Finish | undefined;
};

export type Finish = { readonly reason: "stop" | "length"; readonly stopReason: number | string | null };

export class Sequence {
  readonly index: number;
  readonly #speaker: Speaker;
  readonly #sampling: Sampling;
  readonly #decoder = new IncrementalDecoder();
  /** Characters (code points, as Python counts) kept back while they may be the start of a stop string. */
  readonly #heldBack: number;
  #text = "";
  #sentChars = 0;
  #tokens = 0;

  constructor(index: number, speaker: Speaker, sampling: Sampling) {
    this.index = index;
    this.#speaker = speaker;
    this.#sampling = sampling;
    this.#heldBack =
      sampling.stop.length > 0 && !sampling.includeStop
        ? Math.max(...sampling.stop.map((s) => [...s].length)) - 1
        : 0;
  }

  /** Tokens taken so far. */
  get tokens(): number {
    return this.#tokens;
  }

  /** Takes one more token from the model. */
  advance(): Delta {
    const { ignoreEos, minTokens } = this.#sampling;
    const endAllowed = this.#tokens >= minTokens;
    const id = this.#speaker.next(endAllowed);
    this.#speaker.feed(id);
    this.#tokens++;
    const byToken = this.#endsByToken(id, endAllowed, ignoreEos);
    const before = this.#text.length;
    if (byToken === undefined || this.#sampling.includeStop) this.#text += this.#decoder.push(id);
    const byText = this.#tokens > minTokens ? this.#endsByText(before) : undefined;
    const finish = byText ?? byToken ?? this.#endsByLength();
    return {
      index: this.index,
      text: this.#release(finish !== undefined),
      tokenIds: [id],
      logprobs: this.#sampling.logprobs === undefined ? undefined : [logprobOf(id, this.#sampling.logprobs)],
      finish,
    };
  }

  #endsByToken(id: number, endAllowed: boolean, ignoreEos: boolean): Finish | undefined {
    if (!endAllowed) return undefined;
    if (id === TURN_END && !ignoreEos) return { reason: "stop", stopReason: null };
    if (this.#sampling.stopTokenIds.includes(id)) return { reason: "stop", stopReason: id };
    return undefined;
  }

  #endsByText(before: number): Finish | undefined {
    const { stop, includeStop } = this.#sampling;
    for (const word of stop) {
      const at = this.#text.indexOf(word, Math.max(0, before - word.length + 1));
      if (at < 0) continue;
      this.#text = this.#text.slice(0, includeStop ? at + word.length : at);
      return { reason: "stop", stopReason: word };
    }
    return undefined;
  }

  #endsByLength(): Finish | undefined {
    return this.#tokens >= this.#sampling.maxTokens ? { reason: "length", stopReason: null } : undefined;
  }

  #release(finished: boolean): string {
    const end = Math.max(this.#sentChars, finished ? this.#text.length : before(this.#text, this.#heldBack));
    const text = this.#text.slice(this.#sentChars, end);
    this.#sentChars = end;
    return text;
  }
}

/** The index in `text` that has `characters` code points behind it. */
function before(text: string, characters: number): number {
  let at = text.length;
  for (let i = 0; i < characters && at > 0; i++) at -= text.codePointAt(at - 2)! > 0xffff && at > 1 ? 2 : 1;
  return at;
}

/** Joins two deltas of one choice, as vLLM does for a client that reads slower than the model writes. */
export function joinDeltas(first: Delta, second: Delta): Delta {
  return {
    index: first.index,
    text: first.text + second.text,
    tokenIds: [...first.tokenIds, ...second.tokenIds],
    logprobs: second.logprobs === undefined ? undefined : [...(first.logprobs ?? []), ...second.logprobs],
    finish: second.finish,
  };
}

/** Made-up but fixed: the sampled token is the likeliest, the others fall off. */
function logprobOf(id: number, alternatives: number): TokenLogprob {
  const entry = (token: number, rank: number) => ({
    id: token,
    token: tokenText(token),
    logprob: -(rank + (spread(mix(0x3c6ef372, token)) % 1000) / 2000),
  });
  const top = [entry(id, 0)];
  for (let rank = 1; rank < alternatives; rank++) top.push(entry(3 + ((id + rank * 7919) % 20_000), rank));
  return { ...entry(id, 0), top: top.slice(0, Math.max(0, alternatives)) };
}
