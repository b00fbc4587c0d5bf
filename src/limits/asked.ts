import { FIRST_STEP_TOKENS } from "../bounds.ts";
import { EVEN_WEIGHTS, type Weights } from "../catalogue.ts";
import type { Ask } from "./account.ts";
import { affordableOutput, weighted } from "./weights.ts";

/** What of a request decides how much it holds at first. The same rule at a budget's object and in an isolate's block. */
export interface Asked {
  /** Estimated. */
  readonly promptTokens: number;
  /** The client's limit per choice, or null. */
  readonly maxOutputTokens: number | null;
  readonly choices: number;
  readonly generates: boolean;
  /** Its output is known only at its end, so no report can extend what it holds, or stop it. */
  readonly atOnce?: boolean;
  /** As in `Ask`. */
  readonly ownLeasedTokens?: number;
  /** Absent: one each. */
  readonly weights?: Weights;
}

/** The prompt and a first step of output, within the smallest whole budget. Weighted tokens. */
export function askedTokens(ask: Asked, whole: number): Ask {
  const weights = ask.weights ?? EVEN_WEIGHTS;
  const choices = ask.generates ? ask.choices : 0;
  const leastTokens = weighted(ask.promptTokens, choices, weights);
  const firstStep = choices * Math.min(ask.maxOutputTokens ?? Infinity, FIRST_STEP_TOKENS);
  const tokens = Math.max(leastTokens, Math.min(weighted(ask.promptTokens, firstStep, weights), whole));
  return { tokens, leastTokens, ownLeasedTokens: ask.ownLeasedTokens ?? 0 };
}

/** All that a request could use within the smallest whole budget, in weighted tokens. */
export function mostTokens(ask: Asked, whole: number): number {
  const output = ask.generates ? ask.choices * (ask.maxOutputTokens ?? Infinity) : 0;
  return Math.min(weighted(ask.promptTokens, output, ask.weights ?? EVEN_WEIGHTS), whole);
}

/** The most output tokens per choice that the whole budget allows, or null when it sets no bound. */
export function outputCap(ask: Asked, whole: number): number | null {
  const perChoice = affordableOutput(whole, ask.promptTokens, ask.choices, ask.weights ?? EVEN_WEIGHTS);
  return ask.generates && Number.isFinite(perChoice) ? Math.max(1, perChoice) : null;
}
