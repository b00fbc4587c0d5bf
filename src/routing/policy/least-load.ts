import { type Choice, leastBy, type Policy } from "./policy.ts";

/** Fewest requests, the classic; what they cost and what is cached where does not count. */
export const leastLoad: Policy = (choices: readonly Choice[]) =>
  leastBy(choices, ({ requests, share }) => (requests + 1) / share);
