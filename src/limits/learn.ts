import type { CountedPrompt } from "../contract/prompt-basis.ts";
import { COLD } from "./estimate.ts";
import type { Learned, Quantile } from "./messages.ts";

/**
 * Learns by how much a model's prompts differ from the cold start, as 95th percentiles: a factor on the text's tokens per
 * class of text, and the template's tokens that the edge does not count (a built-in system prompt).
 *
 * Each percentile is one number that takes a step up when a prompt needed more and a step down, 19 times smaller, when it
 * needed less (stochastic approximation of a quantile; Robbins and Monro 1951). Where it comes to rest, one prompt in
 * twenty needs more. How much more does not matter, so a single count, be it a lie, moves it by one step and no further;
 * steps shrink with experience, but not to nothing, since tenants and their texts change. Ranges bound the whole.
 */
const PERCENTILE = 0.95;

interface Range {
  readonly least: number;
  readonly most: number;
}

/**
 * Byte-pair vocabularies hold every byte, so no ASCII character costs more than one token and no other more than three;
 * half of that for prose, which no real text reaches. The least is what very large vocabularies need.
 */
export const FACTOR_RANGE: Record<"prose" | "code" | "cjk" | "other", Range> = {
  prose: { least: 0.4, most: 1.5 },
  code: { least: 0.4, most: 3 },
  cjk: { least: 0.3, most: 2.3 },
  other: { least: 0.1, most: 2 },
};
export const FRAME_RANGE: Range = { least: 0, most: 256 };

/** From this many estimated tokens on, a text says something of its class. */
const LONG_TEXT_TOKENS = 48;
/** Up to this many, a prompt says something of its template. */
const SHORT_TEXT_TOKENS = 24;
/** An image is counted with more: by a formula, which must not be blamed on the text. */
const SHORT_FIXED_TOKENS = 64;

/** A step, as a share of a factor: a quarter at first, after a few hundred prompts two hundredths. */
const FACTOR_STEP = { first: 0.25, least: 0.02 };
/** In tokens. */
const FRAME_STEP = { first: 16, least: 1 };
/** After so many prompts the first step has halved. */
const HALVING_COUNT = 25;
const COUNT_MAX = 1_000_000;

/** What is known after one more prompt was counted. Prompts that say nothing clear change nothing. */
export function learned(known: Learned, { basis, promptTokens }: CountedPrompt): Learned {
  const { textClass, textTokens, fixedTokens, templated } = basis;
  if (promptTokens < 1) return known;
  const frameTokens = templated ? known.frame.value : 0;
  const factor = known[textClass];
  if (textTokens >= LONG_TEXT_TOKENS && fixedTokens <= textTokens) {
    const needed = (promptTokens - fixedTokens - frameTokens) / textTokens;
    const step = stepAt(factor.count, FACTOR_STEP);
    const value =
      factor.value * Math.exp(needed > factor.value ? step * PERCENTILE : step * (PERCENTILE - 1));
    return { ...known, [textClass]: next(factor, value, FACTOR_RANGE[textClass]) };
  }
  if (templated && textTokens <= SHORT_TEXT_TOKENS && fixedTokens <= SHORT_FIXED_TOKENS) {
    const needed = promptTokens - fixedTokens - textTokens * factor.value;
    const step = stepAt(known.frame.count, FRAME_STEP);
    const value = frameTokens + (needed > frameTokens ? step * PERCENTILE : step * (PERCENTILE - 1));
    return { ...known, frame: next(known.frame, value, FRAME_RANGE) };
  }
  return known;
}

/**
 * One model as several pools have learned it: means, weighted by experience as far as that still counts. None: the cold
 * start.
 */
export function pooled(parts: readonly Learned[]): Learned {
  if (parts.length <= 1) return parts[0] ?? COLD;
  return {
    prose: mean(parts.map(({ prose }) => prose)) ?? COLD.prose,
    code: mean(parts.map(({ code }) => code)) ?? COLD.code,
    cjk: mean(parts.map(({ cjk }) => cjk)) ?? COLD.cjk,
    other: mean(parts.map(({ other }) => other)) ?? COLD.other,
    frame: mean(parts.map(({ frame }) => frame)) ?? COLD.frame,
  };
}

/** A pool with more experience than this says nothing better for it. */
const EXPERIENCED_COUNT = 300;

function mean(parts: readonly Quantile[]): Quantile | null {
  let sum = 0;
  let weights = 0;
  for (const { value, count } of parts) {
    const weight = Math.min(count, EXPERIENCED_COUNT);
    sum += weight * value;
    weights += weight;
  }
  return weights === 0 ? null : { value: sum / weights, count: weights };
}

function stepAt(count: number, { first, least }: { first: number; least: number }): number {
  return Math.max(least, first / (1 + count / HALVING_COUNT));
}

function next({ count }: Quantile, value: number, { least, most }: Range): Quantile {
  return { value: Math.min(most, Math.max(least, value)), count: Math.min(COUNT_MAX, count + 1) };
}
