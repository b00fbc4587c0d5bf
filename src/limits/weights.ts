import type { Weights } from "../catalogue.ts";
import type { Usage } from "../contract/report.ts";

/**
 * What tokens weigh in a budget. Limits, holds, leases and levels are in weighted tokens: with weights of one they are
 * the model's own tokens, with prices as weights a budget is money. Usage itself is always kept in the model's tokens.
 * Sums are made in thousandths, which are integers, and rounded up once, so that many small reports cost no more than
 * one large one.
 */
const PER_TOKEN = 1_000;

/** Weighted tokens of a prompt of which nothing is known to be cached, and of output. */
export function weighted(promptTokens: number, outputTokens: number, weights: Weights): number {
  return Math.ceil((promptTokens * weights.input + outputTokens * weights.output) / PER_TOKEN);
}

/** The most output tokens per choice that `wholeTokens` weighted tokens pay for after the prompt; may be infinite. */
export function affordableOutput(
  wholeTokens: number,
  promptTokens: number,
  choices: number,
  weights: Weights,
): number {
  if (weights.output === 0) return Infinity;
  const left = wholeTokens * PER_TOKEN - promptTokens * weights.input;
  return Math.floor(left / (weights.output * Math.max(1, choices)));
}

/**
 * Weighted tokens of several attempts. Engines tell how much of a prompt was cached at the end only, and what is settled
 * never falls (I7): until an attempt is `final` its prompt counts as cheap as it may still turn out to be.
 */
export function weightedUsage(
  attempts: readonly (Usage & { readonly final: boolean })[],
  weights: Weights,
): number {
  const { input, cachedInput, output } = weights;
  const thousandths = attempts.reduce((sum, { promptTokens, cachedTokens, outputTokens, final }) => {
    const cached = Math.min(cachedTokens, promptTokens);
    const uncached = (promptTokens - cached) * (final ? input : Math.min(input, cachedInput));
    return sum + uncached + cached * cachedInput + outputTokens * output;
  }, 0);
  return Math.ceil(thousandths / PER_TOKEN);
}
