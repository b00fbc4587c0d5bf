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
  return { tokens, leastTokens };
}

/** The most output tokens per choice that the whole budget allows, or null when it sets no bound. */
export function outputCap(ask: Asked, whole: number): number | null {
  const perChoice = affordableOutput(whole, ask.promptTokens, ask.choices, ask.weights ?? EVEN_WEIGHTS);
  return ask.generates && Number.isFinite(perChoice) ? Math.max(1, perChoice) : null;
}
