import { OUTPUT_TOKENS_MAX } from "../bounds.ts";
import type { PromptMeter } from "./content.ts";
import { engineForbidden, integer, text, truncation } from "./fields.ts";

/** What rerank and score share. */

export const scoringFields = {
  ...truncation,
  max_tokens_per_query: integer(0, OUTPUT_TOKENS_MAX),
  max_tokens_per_doc: integer(0, OUTPUT_TOKENS_MAX),
  instruction: text.nullish(),
};

export const scoringForbidden: Readonly<Record<string, string>> = {
  ...engineForbidden,
  use_activation: "the model's own default is used.",
  normalize: "the model's own default is used.",
  padding: "the model's own default is used.",
  task: "the path names the task.",
};

/** A cross-encoder's frame around a pair: `[CLS] … [SEP] … [SEP]`. */
const PAIR_TOKENS = 3;

/**
 * What pairs cost. A cross-encoder reads each pair as one prompt, so one query against many documents is read many
 * times. (A bi-encoder reads each text once and costs less; settled usage says so.)
 */
export function addPairs(
  meter: PromptMeter,
  left: readonly string[],
  right: readonly string[],
  instruction: unknown,
): void {
  const pairs = Math.max(left.length, right.length);
  for (const one of left) meter.text.add(one, left.length === 1 ? pairs : 1);
  for (const one of right) meter.text.add(one);
  if (typeof instruction === "string") meter.text.add(instruction, pairs);
  meter.fixedTokens += PAIR_TOKENS * pairs;
}
