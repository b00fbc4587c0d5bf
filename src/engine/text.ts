import type { TextMeasure } from "./endpoint.ts";

/**
 * Counts characters by script class, without keeping the text. Characters are UTF-16 units: a surrogate pair (emoji,
 * rare Han) counts as two of `otherChars`, as it also costs two or three tokens.
 */
export class TextMeter {
  #asciiChars = 0;
  #cjkChars = 0;
  #otherChars = 0;

  /** @param times how often the engine will read it */
  add(text: string, times = 1): void {
    const length = text.length;
    let cjk = 0;
    let other = 0;
    for (let index = 0; index < length; index++) {
      const unit = text.charCodeAt(index);
      if (unit < 0x80) continue;
      if (isCjk(unit)) cjk++;
      else other++;
    }
    this.#asciiChars += times * (length - cjk - other);
    this.#cjkChars += times * cjk;
    this.#otherChars += times * other;
  }

  measure(): TextMeasure {
    return { asciiChars: this.#asciiChars, cjkChars: this.#cjkChars, otherChars: this.#otherChars };
  }
}

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
