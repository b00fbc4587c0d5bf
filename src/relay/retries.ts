import {
  HEDGE_AFTER_MIN_MS,
  HEDGE_SAMPLES_KEPT,
  HEDGE_SAMPLES_MIN,
  MODELS_SEEN_MAX,
  RETRY_FLOOR,
  RETRY_SHARE,
  RETRY_WINDOW_MS,
} from "../bounds.ts";
import { Lateness } from "../routing/lateness.ts";
import { RetryBudget } from "../routing/retry-budget.ts";
import { count } from "../telemetry/metrics.ts";
import type { Seat } from "./seat.ts";

/** What this isolate has seen of each model: whether it may retry, and when a first token is late. */
const budgets = new Map<string, RetryBudget>();
const lateness = new Map<string, Lateness>();

const RULES = { share: RETRY_SHARE, floor: RETRY_FLOOR, windowMs: RETRY_WINDOW_MS };

export function requestSeen(model: string): void {
  kept(budgets, model, () => new RetryBudget(RULES)).requested(Date.now());
}

/** Whether a request of this model may make one more origin call now. */
export function mayRetry(model: string, why: "failover" | "hedge"): boolean {
  const may = kept(budgets, model, () => new RetryBudget(RULES)).take(Date.now());
  count("meridian_retries_total", { why, result: may ? "made" : "over_budget" });
  return may;
}

export function firstTokenSeen(model: string, seat: Seat, tookMs: number): void {
  latenessOf(model, seat).seen(tookMs, seat.predictedMs);
}

/** When a second call would be made, from the first one's start; null: too little was seen. */
export function lateAfterMs(model: string, seat: Seat): number | null {
  const afterMs = latenessOf(model, seat).afterMs(seat.predictedMs);
  return afterMs === null ? null : Math.max(HEDGE_AFTER_MIN_MS, afterMs);
}

function latenessOf(model: string, { candidate }: Seat): Lateness {
  const place = `${candidate.pool.id} ${model}`;
  return kept(lateness, place, () => new Lateness(HEDGE_SAMPLES_KEPT, HEDGE_SAMPLES_MIN));
}

function kept<T>(all: Map<string, T>, name: string, fresh: () => T): T {
  let one = all.get(name);
  if (one === undefined) {
    if (all.size >= MODELS_SEEN_MAX) all.clear();
    one = fresh();
    all.set(name, one);
  }
  return one;
}
