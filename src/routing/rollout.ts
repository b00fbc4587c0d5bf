import { ROLLOUT_CRITICAL_Z, ROLLOUT_REQUESTS_MIN, ROLLOUT_WAITS_MIN, WEIGHT_WHOLE } from "../bounds.ts";
import type { Model } from "../catalogue.ts";
import type { Outcomes } from "./messages.ts";
import { bucketEndMs } from "./outcomes.ts";

/** Revisions of one model side by side: who gets which, and when one is held. Pure. */

/** Revisions of a model that may take traffic now, by id, so that everybody counts them in the same order. */
export function revisionsOf(model: Model, models: readonly Model[]): Model[] {
  return models
    .filter(({ revision, held }) => revision?.of === model.id && held === undefined)
    .sort((one, other) => (one.id < other.id ? -1 : 1));
}

/**
 * The revision of a session: always the same for the same `point` while weights stay as they are. Weights that add up to
 * more than the whole are cut off at it. With one revision, a raised weight moves sessions to it and none away from it.
 * @param point 0 ≤ point < WEIGHT_WHOLE, a hash of the session
 */
export function chooseRevision(model: Model, revisions: readonly Model[], point: number): Model {
  let end = 0;
  for (const candidate of revisions) {
    end += candidate.revision?.weight ?? 0;
    if (point < end) return candidate;
  }
  return model;
}

/** The revisions that get a copy of a request; `point` as above, of the request. */
export function shadowsOf(revisions: readonly Model[], point: number): Model[] {
  return revisions.filter(({ revision }) => point < (revision?.shadow ?? 0));
}

/** 32-bit FNV-1a with a final mix (murmur3's), as a point: spreads texts that differ in their last character only. */
export function pointOf(text: string): number {
  let hash = 0x811c9dc5;
  for (let at = 0; at < text.length; at++) hash = Math.imul(hash ^ text.charCodeAt(at), 0x01000193);
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b);
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35);
  return ((hash ^ (hash >>> 16)) >>> 0) % WEIGHT_WHOLE;
}

export type Verdict =
  | { readonly kind: "too_few" }
  | { readonly kind: "fine" }
  | { readonly kind: "worse"; readonly why: "errors" | "latency"; readonly detail: string };

export interface JudgeBounds {
  readonly errorRate: number;
  readonly latencyRatio: number;
}

/**
 * Whether a revision is worse than its baseline beyond the bounds, and not by chance.
 *
 * Errors: one-sided test of two proportions against a difference of `errorRate`,
 * `z = (p_c − p_b − δ) / √(p_c(1 − p_c)/n_c + p_b(1 − p_b)/n_b)`, where one success and one failure are added to each side
 * (Agresti and Caffo, 2000) so that small counts and rates of 0 or 1 do not make the variance vanish.
 *
 * Latency: a P95 above `latencyRatio` times the baseline's means that more than 5 % of the revision's requests took longer
 * than that: one-sided test of that share against 5 %. The baseline's P95 is the upper end of its bucket, so the bound is
 * never stricter than stated and up to 19 % more lenient.
 */
export function judge(baseline: Outcomes, revision: Outcomes, bounds: JudgeBounds): Verdict {
  const ended = ({ ok, failed }: Outcomes) => ok + failed;
  const timed = ({ waits }: Outcomes) => waits.reduce((sum, count) => sum + count, 0);
  const enough = Math.min(ended(baseline), ended(revision)) >= ROLLOUT_REQUESTS_MIN;
  if (enough && errorsZ(baseline, revision, bounds.errorRate) > ROLLOUT_CRITICAL_Z) {
    const rates = [revision, baseline].map((side) => percent(side.failed / ended(side)));
    return { kind: "worse", why: "errors", detail: `error rate ${rates[0]} against ${rates[1]}` };
  }
  const enoughTimed = Math.min(timed(baseline), timed(revision)) >= ROLLOUT_WAITS_MIN;
  if (!enoughTimed) return { kind: enough ? "fine" : "too_few" };
  const limitMs = bucketEndMs(quantileBucket(baseline, 0.95)) * bounds.latencyRatio;
  const late = revision.waits.reduce((sum, count, bucket) => {
    // A bucket counts as late when all of it is.
    return bucket > 0 && bucketEndMs(bucket - 1) >= limitMs ? sum + count : sum;
  }, 0);
  if (shareZ(late, timed(revision), 0.05) <= ROLLOUT_CRITICAL_Z) return { kind: "fine" };
  const detail = `${percent(late / timed(revision))} of its first tokens took longer than ${Math.round(limitMs)} ms`;
  return { kind: "worse", why: "latency", detail };
}

function errorsZ(baseline: Outcomes, revision: Outcomes, bound: number): number {
  const [one, other] = [revision, baseline].map(({ ok, failed }) => {
    const n = ok + failed + 2;
    const p = (failed + 1) / n;
    return { p, variance: (p * (1 - p)) / n };
  }) as [{ p: number; variance: number }, { p: number; variance: number }];
  return (one.p - other.p - bound) / Math.sqrt(one.variance + other.variance);
}

function shareZ(count: number, of: number, share: number): number {
  return (count / of - share) / Math.sqrt((share * (1 - share)) / of);
}

/** The bucket that holds the quantile; of no requests the first. */
export function quantileBucket({ waits }: Outcomes, quantile: number): number {
  const rank = quantile * waits.reduce((sum, count) => sum + count, 0);
  let seen = 0;
  for (const [bucket, count] of waits.entries()) {
    seen += count;
    if (seen >= rank && seen > 0) return bucket;
  }
  return 0;
}

function percent(share: number): string {
  return `${(100 * share).toFixed(1)} %`;
}
