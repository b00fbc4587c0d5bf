import { OBJECT_CALL_TIMEOUT_MS } from "../../bounds.ts";

/** How long an admin call waits until a tenant's budget object has taken a change; then the alarm goes on. */
export const PUSH_TIMEOUT_MS = 2_000;
/** Undelivered changes that one alarm tries, all at once; the rest follow in the next. */
export const OUTBOX_BATCH_MAX = 32;
/** Answers kept for calls that the runtime delivers again; its retries end after about ten seconds. */
export const REPLY_KEPT_MS = 10 * 60_000;
/** Keys of one tenant, ended ones that are still listed included: all of them travel in one tenant record. */
export const KEYS_PER_TENANT_MAX = 1_000;
/** An ended key stays listed that long, then its place is free again. */
export const ENDED_KEY_KEPT_MS = 30 * 24 * 60 * 60_000;
/** Models in the catalogue, which travels as a whole. */
export const MODELS_MAX = 1_024;

if (PUSH_TIMEOUT_MS * 2 > OBJECT_CALL_TIMEOUT_MS) throw new Error("bounds: a call outlasts its push");
