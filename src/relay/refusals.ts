import { DENIAL_CACHE_MAX, REFUSAL_CACHE_MAX_MS } from "../bounds.ts";
import type { Failure } from "../errors.ts";
import type { ReserveAnswer } from "../limits/messages.ts";

/**
 * Refusals by rate, remembered in the isolate until they end: a client that does not wait costs a map look-up and not
 * an object call. Only requests that need at least as much are refused here, and never for longer than a few seconds,
 * so that a raised limit is in force when an operator expects it.
 */
type Refusal = Extract<ReserveAnswer, { ok: false }>;
type RateLimited = Extract<Failure, { tag: "rate_limited" }>;

interface Known {
  readonly answer: Refusal;
  readonly failure: RateLimited;
  readonly promptTokens: number;
  readonly untilMs: number;
  readonly forgetMs: number;
}

const known = new Map<string, Known>();

/** A refusal that still holds for this key and a prompt of this size, with the time that is left of it. */
export function knownRefusal(keyId: string, promptTokens: number, nowMs: number): Refusal | null {
  const refusal = known.get(keyId);
  if (!refusal) return null;
  if (nowMs >= Math.min(refusal.untilMs, refusal.forgetMs)) {
    known.delete(keyId);
    return null;
  }
  if (promptTokens < refusal.promptTokens) return null;
  return { ...refusal.answer, failure: { ...refusal.failure, retryAfterMs: refusal.untilMs - nowMs } };
}

/** Places among concurrent requests come free at any moment, and other end users have budgets of their own. */
export function rememberRefusal(keyId: string, promptTokens: number, answer: Refusal, nowMs: number): void {
  const { failure } = answer;
  if (
    failure.tag !== "rate_limited" ||
    failure.dimension === "concurrent_requests" ||
    failure.scope === "user"
  )
    return;
  if (known.size >= DENIAL_CACHE_MAX) known.clear();
  const untilMs = nowMs + failure.retryAfterMs;
  known.set(keyId, { answer, failure, promptTokens, untilMs, forgetMs: nowMs + REFUSAL_CACHE_MAX_MS });
}
