import type { PromptBasis, TextClass } from "../contract/prompt-basis.ts";
import type { Call, EndpointId } from "../engine/endpoint.ts";
import type { Learned } from "./messages.ts";

/**
 * Prompt tokens before an engine has counted them. The cold start is on the high side: what admission reserves is settled
 * by the engine's own count within a second, so an estimate that is too high costs a moment of budget and one that is too
 * low becomes overrun. English runs at about 4 characters a token in byte-pair vocabularies, code and JSON at about 3;
 * Chinese, Japanese and Korean at about one token a character; other scripts up to two. What engines count then corrects
 * it per model (learn.ts).
 */
export const TOKENS_PER_CHAR: Record<TextClass, number> = { prose: 1 / 3, code: 1 / 3, cjk: 1.3, other: 1.5 };

/** What nothing is known of yet: the constants as they are. */
export const COLD: Learned = {
  prose: { value: 1, count: 0 },
  code: { value: 1, count: 0 },
  cjk: { value: 1, count: 0 },
  other: { value: 1, count: 0 },
  frame: { value: 8, count: 0 },
};

const TEMPLATED: readonly EndpointId[] = ["chat", "responses", "messages"];

/** What the estimate of a request is made of. */
export function promptBasis({ measure, fixedTokens, endpoint }: Call): PromptBasis {
  const tokens: [TextClass, number][] = [
    ["prose", measure.proseChars * TOKENS_PER_CHAR.prose],
    ["code", measure.codeChars * TOKENS_PER_CHAR.code],
    ["cjk", measure.cjkChars * TOKENS_PER_CHAR.cjk],
    ["other", measure.otherChars * TOKENS_PER_CHAR.other],
  ];
  const [textClass] = tokens.reduce((most, one) => (one[1] > most[1] ? one : most));
  const textTokens = Math.ceil(tokens.reduce((sum, [, part]) => sum + part, 0));
  return { textClass, textTokens, fixedTokens, templated: TEMPLATED.includes(endpoint) };
}

/** Estimated prompt tokens, at least one: 95 of 100 prompts of this model and kind have no more. */
export function estimatePromptTokens(basis: PromptBasis, learned: Learned = COLD): number {
  const text = basis.textTokens * learned[basis.textClass].value;
  const frame = basis.templated ? learned.frame.value : 0;
  return Math.max(1, Math.ceil(text + frame) + basis.fixedTokens);
}
