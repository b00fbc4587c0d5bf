import type { Work } from "../messages.ts";
import { type Choice, leastBy, type Policy } from "./policy.ts";

/** How much a token to compute here weighs against one that is ahead: it costs not only this request its time. */
const WEIGHT_FLAT = 3;
const WEIGHT_SATURATED = 8;
/** Work ahead per replica on average, from where the weight rises and where it is highest. */
const RISES_FROM_MS = 1_000;
const HIGHEST_FROM_MS = 4_000;

/**
 * The least `tokens ahead + λ · uncached tokens of this request`. λ above 1 because a prefix computed twice takes its
 * time from all who come later and memory from what is cached; it rises near saturation, where that costs most.
 * Prompts never seen are scored like all others: spreading them by hash costs up to 8 × (replay).
 */
export const predictedTtft: Policy = (choices: readonly Choice[], _work: Work) => {
  const weight = weightAt(choices);
  return leastBy(
    choices,
    ({ aheadTokens, uncachedTokens, share }) => (aheadTokens + weight * uncachedTokens) / share,
  );
};

function weightAt(choices: readonly Choice[]): number {
  let aheadMs = 0;
  for (const { aheadTokens, tokensPerMs } of choices) aheadMs += aheadTokens / tokensPerMs / choices.length;
  const share = (aheadMs - RISES_FROM_MS) / (HIGHEST_FROM_MS - RISES_FROM_MS);
  return WEIGHT_FLAT + (WEIGHT_SATURATED - WEIGHT_FLAT) * Math.max(0, Math.min(1, share));
}
