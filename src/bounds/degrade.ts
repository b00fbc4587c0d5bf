/** Bounds of the response cache, the degradation ladder, approvals, rollouts and shadow traffic. */

// --- Response cache ---------------------------------------------------------------------------------------
/** Longest that an answer may count as fresh, and that it may be kept for the case that no region answers. */
export const CACHE_TTL_MAX_S = 7 * 86_400;
export const CACHE_STALE_MAX_S = 30 * 86_400;
/** Largest answer that is kept. Redis services take commands of 1 MB and JSON escapes a text's quotes. */
export const CACHE_ENTRY_MAX_BYTES = 384 * 1024;
export const CACHE_ENTRY_DEFAULT_BYTES = 128 * 1024;
/** Answers that an isolate itself remembers, all together: the tier before the location's cache. */
export const CACHE_ISOLATE_MAX_BYTES = 8 * 1024 * 1024;
/** Answers that are being collected at once in an isolate; above it new ones are not kept. */
export const CACHE_COLLECT_MAX_BYTES = 16 * 1024 * 1024;
/** A request waits for each tier at most this long; then it goes on as if nothing had been found. */
export const CACHE_READ_TIMEOUT_MS = 200;

// --- Degradation ladder and approvals ---------------------------------------------------------------------
/** How long a request waits for a place at its own model while there are steps left, where the policy is silent. */
export const DEGRADE_WAIT_DEFAULT_MS = 2_000;
/** Retry-After of a model that an operator has switched off. */
export const REFUSED_RETRY_MS = 30_000;
/** An isolate that finds a step closed for want of an approval proposes it at most this often. */
export const PROPOSE_MIN_GAP_MS = 10_000;
/** A proposal that nobody decides about is gone after that: what it was proposed for is over. */
export const PROPOSAL_OPEN_MS = 60 * 60_000;
/** An approval holds that long unless whoever gives it says otherwise, and never longer than the bound. */
export const APPROVAL_DEFAULT_MS = 60 * 60_000;
export const APPROVAL_MAX_MS = 24 * 60 * 60_000;
/** An override that is meant to stay is a change of the model's policy. */
export const OVERRIDE_MAX_MS = 30 * 86_400_000;
/** Steps that are forced, forbidden or allowed at once: they travel in the catalogue. */
export const CONTROLS_MAX = 1_000;
/** Decided approvals stay listed that long. */
export const APPROVALS_KEPT_MS = 30 * 86_400_000;

// --- Rollouts ---------------------------------------------------------------------------------------------
/** Weights of revisions are in thousandths of a model's sessions. */
export const WEIGHT_WHOLE = 1_000;
/** What a pool remembers of how requests ended, and in which steps it forgets. */
export const OUTCOME_WINDOW_MS = 10 * 60_000;
export const OUTCOME_SLOT_MS = 5_000;
/** How often the registry compares a revision that takes traffic with its baseline. */
export const ROLLOUT_LOOK_MS = 5_000;
/**
 * Fewer ended requests than that on either side prove nothing about errors, or about times to first token. Not more
 * than a breaker needs to open: behind an open one a revision ends no further requests to be judged by.
 */
export const ROLLOUT_REQUESTS_MIN = 5;
export const ROLLOUT_WAITS_MIN = 100;
/**
 * One-sided critical value: 1 in 1,000 by chance per look. Looks overlap (one each 5 s over a window of 10 min), so over
 * a whole rollout it is more; a false hold costs an operator a second thought, a missed one costs users.
 */
export const ROLLOUT_CRITICAL_Z = 3.09;
/** How much worse a revision may be where it says nothing else: error rate (difference) and P95 of TTFT (ratio). */
export const ROLLOUT_ERROR_RATE_DEFAULT = 0.02;
export const ROLLOUT_LATENCY_RATIO_DEFAULT = 1.5;
/** Buckets of times to first token: powers of 2^(1/4) from 10 ms; the last one holds all above 77 s. */
export const WAIT_BUCKETS = 52;
export const WAIT_BUCKET_FIRST_MS = 10;

// --- Shadow traffic ---------------------------------------------------------------------------------------
/** Copies that an isolate has under way at once; each holds its body. */
export const SHADOWS_IN_FLIGHT_MAX = 4;
export const SHADOW_BODY_MAX_BYTES = 256 * 1024;
/** A copy is there to be measured, not read. */
export const SHADOW_OUTPUT_TOKENS_MAX = 256;
/** Background work ends 30 s after its answer. */
export const SHADOW_MAX_MS = 25_000;

function holds(relation: boolean, why: string): void {
  if (!relation) throw new Error(`bounds: ${why}`);
}

holds(
  2 * CACHE_ENTRY_MAX_BYTES < CACHE_ISOLATE_MAX_BYTES,
  "an isolate remembers the largest answer, at two bytes a letter",
);
holds(
  CACHE_ENTRY_MAX_BYTES < 1_000_000 / 2,
  "an answer fits into one Redis command, with its quotes escaped",
);
holds(ROLLOUT_LOOK_MS < OUTCOME_WINDOW_MS, "no outcome is forgotten before it was looked at");
holds(SHADOW_MAX_MS < 30_000, "a copy ends while background work may still run");
