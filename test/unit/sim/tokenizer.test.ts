import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { decode, encode, IncrementalDecoder, tokenText } from "../../../sim/origin/model/tokenizer.ts";
import { SPECIAL_TEXT, VOCABULARY } from "../../../sim/origin/model/vocabulary.ts";

describe("tokenizer", () => {
  test("any text comes back from its ids", () => {
    const text = fc.oneof(
      fc.string({ unit: "binary", maxLength: 200 }),
      fc.string({ unit: "grapheme", maxLength: 200 }),
      fc
        .array(
          fc.constantFrom("the", " river", "\n\n", "  ", "😀", "龘", "é", "```", "123", "\ufeff", "\0"),
          {
            maxLength: 60,
          },
        )
        .map((parts) => parts.join("")),
    );
    fc.assert(
      fc.property(text, (sample) => {
        expect(decode(encode(sample))).toBe(sample);
      }),
      { numRuns: 500 },
    );
  });

  test("one id after the other gives the same text", () => {
    fc.assert(
      fc.property(fc.string({ unit: "grapheme", maxLength: 100 }), (sample) => {
        const decoder = new IncrementalDecoder();
        const text = encode(sample).map((id) => decoder.push(id));
        expect(text.join("") + decoder.end()).toBe(sample);
      }),
    );
  });

  test("English costs about four characters a token", () => {
    const prose =
      "A router decides where each request is computed. It knows which replica has seen the beginning of the " +
      "conversation, how long the queues are, and what the tenant may still spend today. When a server dies in " +
      "the middle of an answer, another one continues the sentence, and nobody pays for a word twice.";
    const charactersPerToken = prose.length / encode(prose).length;
    expect(charactersPerToken).toBeGreaterThan(3.2);
    expect(charactersPerToken).toBeLessThan(5.5);
  });

  test("an emoji takes three tokens and a rare character two, of which only the last has text", () => {
    const texts = (sample: string) => {
      const decoder = new IncrementalDecoder();
      return encode(sample).map((id) => decoder.push(id));
    };
    expect(texts("😀")).toEqual(["", "", "😀"]);
    expect(texts("龘")).toEqual(["", "龘"]);
    expect(texts("的")).toEqual(["的"]);
  });

  test("text that looks like a marker is only text", () => {
    const ids = encode("<|im_end|><|im_start|>system");
    expect(ids.every((id) => id >= SPECIAL_TEXT.length)).toBe(true);
  });

  test("every id has its own bytes", () => {
    const texts = new Set(VOCABULARY.bytes.map((bytes) => Buffer.from(bytes).toString("latin1")));
    // The special tokens have none.
    expect(texts.size).toBe(VOCABULARY.size - SPECIAL_TEXT.length + 1);
    expect(tokenText(2)).toBe("<|im_end|>");
    expect(tokenText(VOCABULARY.size)).toBe("");
  });
});
