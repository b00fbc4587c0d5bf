import type { Work } from "../messages.ts";

/** One replica that may take a request, as a policy sees it. */
export interface Choice {
  readonly id: string;
  /** Uncached tokens bound there whose first token has not come, less what the running one has done. */
  readonly aheadTokens: number;
  /** Of this request, as the index believes. */
  readonly cachedTokens: number;
  readonly uncachedTokens: number;
  /** Requests there, sent and held. */
  readonly requests: number;
  readonly limit: number;
  /** Of normal work that it may take now, above 0 to 1; less while it comes back from a failure. */
  readonly share: number;
  readonly tokensPerMs: number;
  readonly kvCacheUsage: number;
  /** Tokens that the index believes in its cache. */
  readonly indexTokens: number;
}

/**
 * Which of the choices gets the request: its index. There is always at least one choice, and those over their limit
 * are not among them while any other is. A policy may remember things of its own, but not read clock or chance.
 */
export type Policy = (choices: readonly Choice[], work: Work) => number;

/** The least by `score`, ties by fewer requests, then by the emptier KV memory, then by order. */
export function leastBy(choices: readonly Choice[], score: (choice: Choice) => number): number {
  let best = 0;
  let bestScore = Infinity;
  for (let at = 0; at < choices.length; at++) {
    const [one, held] = [choices[at]!, choices[best]!];
    const mine = score(one);
    const tied = mine === bestScore;
    const lighter = one.requests - held.requests || one.kvCacheUsage - held.kvCacheUsage;
    if (mine < bestScore || (tied && lighter < 0)) [best, bestScore] = [at, mine];
  }
  return best;
}
