import type { Call, TextMeasure } from "../engine/endpoint.ts";

/**
 * Tokens per character by script class, on the high side: what admission reserves is settled by the engine's own
 * count within a second, so an estimate that is too high costs a moment of budget and one that is too low becomes
 * overrun. English runs at about 4 characters a token in byte-pair vocabularies, code and JSON at about 3;
 * Chinese, Japanese and Korean at about one token a character; other scripts up to two.
 */
export const TOKENS_PER_CHAR: Record<keyof TextMeasure, number> = {
  asciiChars: 1 / 3,
  cjkChars: 1.3,
  otherChars: 1.5,
};

/** Estimated prompt tokens of a request, at least one. */
export function estimatePromptTokens(call: Call): number {
  const { asciiChars, cjkChars, otherChars } = call.measure;
  const text =
    asciiChars * TOKENS_PER_CHAR.asciiChars +
    cjkChars * TOKENS_PER_CHAR.cjkChars +
    otherChars * TOKENS_PER_CHAR.otherChars;
  return Math.max(1, Math.ceil(text) + call.fixedTokens);
}
