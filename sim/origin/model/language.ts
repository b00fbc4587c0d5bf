/**
 * The simulated model: the next token is a pure function of all the ids before it, prompt and answer alike. So an
 * answer that is cut off and resumed from its own text goes on exactly as it would have.
 */
import { mix, spread } from "../engine/hash.ts";
import { decode, encode, IncrementalDecoder, tokenText } from "./tokenizer.ts";
import { PARAGRAPH, sentenceOfLength, UNITS } from "./units.ts";
import { TURN_END, TURN_START } from "./vocabulary.ts";

/** Something that says one token after the other. */
export type Speaker = {
  /** The next token; the end token only where `endAllowed`. Asking twice gives the same token. */
  next(endAllowed: boolean): number;
  /** Tells the speaker which token was taken. */
  feed(id: number): void;
};

const DEFAULT_NATURAL_TOKENS = { least: 30, spread: 371 };
const LONGEST_MEASURED_SENTENCE = 24;
const PARAGRAPH_EVERY = 6;
/** A prompt without turns has no natural length: at each sentence's end, one in this many stops. */
const PLAIN_END_EVERY = 8;
const LENGTH_DIRECTIVE = /\[len=(\d{1,6})\]/g;

/** Where the answer begins inside the ids, and how many tokens it has by nature before the end token. */
export type Turn = { readonly origin: number; readonly naturalTokens: number };

/** Speaks prose. `variant` makes the choices of one request (`n` > 1) differ. */
export class ProseSpeaker implements Speaker {
  #hash: number;
  #count = 0;
  #unit: readonly number[] = [];
  #offset = 0;
  readonly #naturalTokens: number;

  constructor(promptIds: readonly number[], variant = 0) {
    const turn = readTurn(promptIds);
    this.#naturalTokens = turn.naturalTokens;
    this.#hash = variant;
    for (let i = 0; i < turn.origin; i++) this.#hash = mix(this.#hash, promptIds[i]!);
    for (let i = turn.origin; i < promptIds.length; i++) this.feed(promptIds[i]!);
  }

  next(endAllowed: boolean): number {
    this.#choose();
    if (!endAllowed && this.#unit[this.#offset] === TURN_END)
      this.#unit = this.#prose(Number.POSITIVE_INFINITY);
    return this.#unit[this.#offset]!;
  }

  feed(id: number): void {
    this.#choose();
    // The end was due but something else was said (`ignore_eos`, `min_tokens`): go on with prose.
    if (this.#unit[this.#offset] === TURN_END && id !== TURN_END)
      this.#unit = this.#prose(Number.POSITIVE_INFINITY);
    const expected = this.#unit[this.#offset] === id;
    this.#offset = expected ? this.#offset + 1 : 0;
    if (!expected) this.#unit = [];
    this.#hash = mix(this.#hash, id);
    this.#count++;
  }

  #choose(): void {
    if (this.#offset < this.#unit.length) return;
    this.#offset = 0;
    const left = this.#naturalTokens - this.#count;
    const stopsHere =
      left === Number.POSITIVE_INFINITY && this.#count > 0 && this.#draw(1) % PLAIN_END_EVERY === 0;
    this.#unit = left <= 0 || stopsHere ? [TURN_END] : this.#prose(left);
  }

  #prose(left: number): readonly number[] {
    const first = this.#count === 0;
    const unit = UNITS[this.#draw(2) % UNITS.length]!;
    const paragraph = !first && this.#draw(3) % PARAGRAPH_EVERY === 0;
    const ids = first ? unit.bare : paragraph ? [...PARAGRAPH, ...unit.bare] : unit.joined;
    if (ids.length <= left) return ids;
    const tokens = Math.min(left, LONGEST_MEASURED_SENTENCE);
    return sentenceOfLength(tokens, this.#draw(4), first);
  }

  #draw(salt: number): number {
    return spread(mix(this.#hash, salt));
  }
}

/** Speaks a given text once, then ends: JSON and tool calls. */
export class ScriptSpeaker implements Speaker {
  readonly #ids: readonly number[];
  #at = 0;

  constructor(text: string) {
    this.#ids = encode(text);
  }

  // A grammar allows nothing after its end, so the end token comes even where `min_tokens` asks for more.
  next(): number {
    return this.#ids[this.#at] ?? TURN_END;
  }

  feed(): void {
    this.#at++;
  }
}

/** Finds the answer in `ids`: the open assistant turn, or, where there are no turns, the text after `[len=N]`. */
export function readTurn(ids: readonly number[]): Turn {
  const start = ids.lastIndexOf(TURN_START);
  if (start < 0 || ids.indexOf(TURN_END, start) >= 0) return readPlain(ids);
  const { role, contentAt } = readHeader(ids, start);
  // Asked to continue a turn that is not its own, a model has nothing to add.
  if (role !== "assistant") return { origin: ids.length, naturalTokens: 0 };
  return { origin: contentAt, naturalTokens: directiveOfUser(ids, start) ?? defaultLength(ids, contentAt) };
}

function readHeader(ids: readonly number[], start: number): { role: string; contentAt: number } {
  let contentAt = start + 1;
  while (contentAt < ids.length && !tokenText(ids[contentAt]!).includes("\n")) contentAt++;
  return { role: decode(ids.slice(start + 1, contentAt)), contentAt: contentAt + 1 };
}

function directiveOfUser(ids: readonly number[], before: number): number | undefined {
  for (let at = before; at > 0; ) {
    at = ids.lastIndexOf(TURN_START, at - 1);
    if (at < 0) return undefined;
    const { role, contentAt } = readHeader(ids, at);
    if (role !== "user") continue;
    const end = ids.indexOf(TURN_END, contentAt);
    return lastDirective(decode(ids.slice(contentAt, end < 0 ? before : end)))?.tokens;
  }
  return undefined;
}

function lastDirective(text: string): { tokens: number; endsAt: number } | undefined {
  let found: { tokens: number; endsAt: number } | undefined;
  for (const match of text.matchAll(LENGTH_DIRECTIVE)) {
    found = { tokens: Number(match[1]), endsAt: match.index + match[0].length };
  }
  return found;
}

function defaultLength(ids: readonly number[], origin: number): number {
  let hash = 0x1b56c4e9;
  for (let i = 0; i < origin; i++) hash = mix(hash, ids[i]!);
  return DEFAULT_NATURAL_TOKENS.least + (spread(hash) % DEFAULT_NATURAL_TOKENS.spread);
}

function readPlain(ids: readonly number[]): Turn {
  const directive = lastDirective(decode(ids));
  if (directive === undefined) return { origin: 0, naturalTokens: Number.POSITIVE_INFINITY };
  const decoder = new IncrementalDecoder();
  let chars = 0;
  let origin = 0;
  while (origin < ids.length && chars < directive.endsAt) chars += decoder.push(ids[origin++]!).length;
  return { origin, naturalTokens: directive.tokens };
}
