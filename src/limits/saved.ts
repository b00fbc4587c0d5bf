import type { Weights } from "../catalogue.ts";
import type { Saved } from "./messages.ts";
import { weighted } from "./weights.ts";

/** Written with the change that counts its request, so once per reservation. */
export interface WeightedSaved extends Saved {
  readonly weightedTokens: number;
}

/** What an answer out of the response cache would have cost, by the weights of its admission. */
export function weigh(saved: Saved | undefined, weights: Weights): { readonly saved?: WeightedSaved } {
  if (saved === undefined) return {};
  const weightedTokens = weighted(saved.promptTokens, saved.outputTokens, weights);
  return { saved: { ...saved, weightedTokens } };
}
