import { OBJECT_CALL_TIMEOUT_MS } from "../bounds.ts";

/** Bounds of blocks and of pace; those of budgets that others read too are in the bounds of all (src/bounds.ts). */

/**
 * An isolate that admits as many requests of a key and model as this asks for a block of them in advance: below it a block
 * would hold budget for requests that may not come, and one object call each is cheap enough.
 */
export const BLOCK_EARNING_PER_SECOND = 20;
/**
 * A block is admitted from for this long, and sized for the demand of this time. Short: a revoked key works as long. A block
 * of a lease ends with the lease, so that revocation is in force within a lease's time to live everywhere.
 */
export const BLOCK_USE_MS = 1_000;
/** Of what any scope has left, one block takes at most this much: what a dead isolate strands until its deadline. */
export const BLOCK_SHARE = 0.02;
/** A smaller block saves too few calls for its row; near a limit every request is asked for. */
export const BLOCK_LEAST_REQUESTS = 8;
/** After an ask for a block was refused, the isolate asks for each request for that long. */
export const BLOCK_REST_MS = 1_000;
/** Keys and models that one isolate keeps count of. */
export const BLOCK_KEYS_MAX = 4_096;

/**
 * What a request is taken to use before one of its tenant's has ended: a long answer, but no more than lets a fresh tenant run
 * so many at once. Of a small budget that is less than the first step, which is held anyway.
 */
export const COLD_REQUEST_TOKENS = 1_000;
export const COLD_REQUESTS_PER_MINUTE = 24;
/** Admission looks this far ahead at what running streams will use: the length of a long answer. */
export const PACE_AHEAD_MAX_MS = 120_000;
/** Home short, holders not: they are asked to give back, and it takes about this long until the home has it. */
export const RECALL_WAIT_MS = 2_000;

/**
 * Both attempts at one answer have ended, and nobody has said which of them made it: that word may be on its way for as long
 * as a call of an object takes (OBJECT_CALL_TIMEOUT_MS), and leaves when an attempt fails, which its gate reports at once.
 * Twice that; then the costlier one pays. Without this the budget would wait a minute, as for a gate that fell silent.
 */
export const RACE_WORD_MS = 2 * OBJECT_CALL_TIMEOUT_MS;

/**
 * What one object was measured to do in a second (docs/budgets.md), the lowest of the runs: requests that it is asked for,
 * and requests out of blocks. The platform's own advice is at most about 1,000 calls a second for an object.
 */
export const OBJECT_ASKED_PER_SECOND = 1_760;
export const OBJECT_DRAWN_PER_SECOND = 4_090;
/** Of that rate: a shard with so much to do is crowded, and isolates leave it for others. Half, so that moves can take time. */
export const SHARD_HOT = 0.5;
/** Another shard is better that would have at most so much of the crowded one's load: less is the averages' noise. */
export const SHARD_BETTER = 0.8;
/** Below so much a shard is given up, */
export const SHARD_COOL = 0.125;
/** if the one that takes its requests then has at most so much: far enough from crowded that nothing goes back and forth. */
export const SHARD_JOIN = 0.375;
/** What is too much at a crowded shard leaves it at this time constant: no faster than the averages follow. */
export const SHARD_LEAVE_MS = 5_000;
/** An isolate that has moved stays for so long, while the averages of both shards follow. */
export const SHARD_SETTLE_MS = 10_000;
/** Cool for this long before a shard is given up: moving costs each isolate a few calls to the home. */
export const SHARD_COOL_MS = 60_000;
/** An isolate that has not heard of its shard for that long asks the location's own object again: it may be the only one left. */
export const SHARD_KEPT_MS = 5 * 60_000;
