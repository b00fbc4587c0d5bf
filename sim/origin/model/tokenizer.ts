/**
 * A deterministic byte-fallback tokenizer: total and reversible on any well-formed Unicode text. A lone surrogate
 * is not text; like every UTF-8 encoder it becomes U+FFFD.
 */
import { SPECIAL_TEXT, VOCABULARY } from "./vocabulary.ts";

// Split as GPT-2 does: a word with the blank before it, digits in groups of at most three, punctuation, white
// space. Greedy matching stays inside a piece, so text cut between two tokens splits the same way again.
const PIECES = / ?\p{L}+| ?\p{N}{1,3}| ?[^\s\p{L}\p{N}]+|\s+/gu;

/** Encoded pieces seen before. Bounded: cleared when full, since prompts repeat the same few thousand words. */
const memo = new Map<string, readonly number[]>();
const MEMO_LIMIT = 50_000;
const MEMO_PIECE_CHARS = 32;

const utf8 = new TextEncoder();

/** Token ids of `text`. Markers such as `<|im_end|>` inside it are plain text: nobody can forge a turn. */
export function encode(text: string): number[] {
  const ids: number[] = [];
  for (const [piece] of text.toWellFormed().matchAll(PIECES)) {
    const known = memo.get(piece);
    if (known !== undefined) {
      ids.push(...known);
      continue;
    }
    const encoded = encodePiece(piece);
    if (piece.length <= MEMO_PIECE_CHARS) {
      if (memo.size >= MEMO_LIMIT) memo.clear();
      memo.set(piece, encoded);
      ids.push(...encoded);
    } else {
      // A spread call has an argument limit; a piece of a megabyte of one letter is legal text.
      for (const id of encoded) ids.push(id);
    }
  }
  return ids;
}

function encodePiece(piece: string): number[] {
  const { idOfText, longestPiece } = VOCABULARY;
  const ids: number[] = [];
  let at = 0;
  while (at < piece.length) {
    const character = String.fromCodePoint(piece.codePointAt(at)!);
    if (character.charCodeAt(0) >= 128) {
      pushCharacter(ids, character);
      at += character.length;
      continue;
    }
    let length = Math.min(longestPiece, piece.length - at);
    while (length > 1 && !idOfText.has(piece.slice(at, at + length))) length--;
    ids.push(idOfText.get(piece.slice(at, at + length))!);
    at += length;
  }
  return ids;
}

function pushCharacter(ids: number[], character: string): void {
  const whole = VOCABULARY.idOfText.get(character);
  if (whole !== undefined) {
    ids.push(whole);
    return;
  }
  const bytes = utf8.encode(character);
  const pair = VOCABULARY.idOfLeadPair.get(bytes[0]! * 256 + bytes[1]!);
  if (pair !== undefined) ids.push(pair);
  for (const byte of bytes.subarray(pair === undefined ? 0 : 2)) ids.push(VOCABULARY.firstByteId + byte);
}

/** Text of `ids`; bytes that form no character become U+FFFD. Special tokens vanish unless `keepSpecial`. */
export function decode(ids: readonly number[], keepSpecial = false): string {
  const decoder = new IncrementalDecoder(keepSpecial);
  let text = "";
  for (const id of ids) text += decoder.push(id);
  return text + decoder.end();
}

/** The text of one token by itself, as `convert_ids_to_tokens` would show it; empty for an unknown id. */
export function tokenText(id: number): string {
  return (
    SPECIAL_TEXT[id] ??
    new TextDecoder("utf-8", { ignoreBOM: true }).decode(VOCABULARY.bytes[id] ?? new Uint8Array(0))
  );
}

/**
 * Turns ids into text one by one. Like vLLM's detokenizer it holds back the bytes of an unfinished character, so
 * the tokens of an emoji give "", "", "😀".
 */
export class IncrementalDecoder {
  readonly #keepSpecial: boolean;
  readonly #decoder = new TextDecoder("utf-8", { ignoreBOM: true });

  constructor(keepSpecial = false) {
    this.#keepSpecial = keepSpecial;
  }

  push(id: number): string {
    const special = SPECIAL_TEXT[id];
    if (special !== undefined) return this.#keepSpecial ? this.#decoder.decode() + special : "";
    return this.#decoder.decode(VOCABULARY.bytes[id], { stream: true });
  }

  /** What is left of an unfinished character, as U+FFFD. vLLM drops it at the end of an answer. */
  end(): string {
    return this.#decoder.decode();
  }
}
