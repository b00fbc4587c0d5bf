import type { TextMeasure } from "./endpoint.ts";

/**
 * Counts characters by script class, without keeping the text. Characters are UTF-16 units: a surrogate pair (emoji,
 * rare Han) counts as two of `otherChars`, as it also costs two or three tokens.
 */
export class TextMeter {
  #proseChars = 0;
  #codeChars = 0;
  #cjkChars = 0;
  #otherChars = 0;

  /** @param times how often the engine will read it */
  add(text: string, times = 1): void {
    const length = text.length;
    let marks = 0;
    let cjk = 0;
    let other = 0;
    for (let index = 0; index < length; index++) {
      const unit = text.charCodeAt(index);
      if (unit < 0x80) marks += MARK[unit]!;
      else if (isCjk(unit)) cjk++;
      else other++;
    }
    const ascii = times * (length - cjk - other);
    if (marks * CODE_MARK_EVERY > length - cjk - other) this.#codeChars += ascii;
    else this.#proseChars += ascii;
    this.#cjkChars += times * cjk;
    this.#otherChars += times * other;
  }

  measure(): TextMeasure {
    return {
      proseChars: this.#proseChars,
      codeChars: this.#codeChars,
      cjkChars: this.#cjkChars,
      otherChars: this.#otherChars,
    };
  }
}

/** A text with more than one mark in so many ASCII characters is code: prose has one in 16 to 160, code in 7 to 11. */
const CODE_MARK_EVERY = 12;

/** 1 for the digits and signs that prose seldom has; a table, because every character of every prompt is looked up. */
const MARK = new Uint8Array(0x80);
for (const char of '0123456789{}[]()<>=_;:"/\\|&*+#$%^~@`') MARK[char.charCodeAt(0)] = 1;

/** Chinese, Japanese and Korean by Unicode block, full-width forms included. */
function isCjk(unit: number): boolean {
  if (unit < 0x1100) return false;
  return (
    unit <= 0x11ff ||
    (unit >= 0x2e80 && unit <= 0x9fff) ||
    (unit >= 0xa960 && unit <= 0xa97f) ||
    (unit >= 0xac00 && unit <= 0xd7ff) ||
    (unit >= 0xf900 && unit <= 0xfaff) ||
    (unit >= 0xff00 && unit <= 0xffef)
  );
}
