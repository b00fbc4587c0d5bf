import { REPORT_SILENCE_MAX_MS, RESERVE_AHEAD_MIN_TOKENS, RESERVE_AHEAD_MS } from "../bounds.ts";
import type { Weights } from "../catalogue.ts";
import type { Usage } from "../contract/report.ts";
import { weightedUsage } from "./weights.ts";

/**
 * One request's hold on its budget. Reports are cumulative per attempt, so applying one twice, late or out of
 * order changes nothing that was settled (I7: settled(id) is monotone and each token settles once).
 */
export interface Reservation {
  readonly id: string;
  readonly keyId: string;
  /** Scopes of the accounts that it holds tokens of. */
  readonly scopes: readonly string[];
  readonly model: string;
  readonly createdAtMs: number;
  /** Open reservations are closed then: void when never reported on, else settled at what was reported. */
  readonly deadlineMs: number;
  /** As they were at admission: a change of the catalogue changes nothing for what runs. */
  readonly weights: Weights;
  /** Weighted. */
  readonly heldTokens: number;
  /** Weighted; only ever grows (I7). */
  readonly settledTokens: number;
  /** Weighted tokens a second, by the last report of a stream that runs; else 0. */
  readonly paceTokensPerSecond: number;
  /** By attempt number. A resumed stream has two. */
  readonly attempts: readonly Attempt[];
  readonly state: ReservationState;
  /** True while it counts as a running request; freed early for tenants near their concurrency limit. */
  readonly running: boolean;
}

export type ReservationState = "open" | "settled" | "void";

export interface Attempt extends Usage {
  readonly final: boolean;
}

/** What a report says of one attempt. */
export interface AttemptReport {
  readonly attempt: number;
  readonly usage: Usage;
  readonly final: boolean;
  readonly tokensPerSecond: number;
}

const NOTHING: Attempt = { promptTokens: 0, cachedTokens: 0, outputTokens: 0, final: false };

export function usedTokens({ attempts }: Reservation): number {
  return attempts.reduce((sum, attempt) => sum + attempt.promptTokens + attempt.outputTokens, 0);
}

/**
 * Weighted tokens to be settled for what was reported. `over`: nothing more is to come, so that what is not known to have
 * been cached was not.
 */
export function owedTokens({ attempts, weights }: Reservation, over: boolean): number {
  return weightedUsage(over ? attempts.map((attempt) => ({ ...attempt, final: true })) : attempts, weights);
}

/** Usage over all attempts. */
export function usageOf({ attempts }: Reservation): Usage {
  return attempts.reduce<Usage>(
    (sum, attempt) => ({
      promptTokens: sum.promptTokens + attempt.promptTokens,
      cachedTokens: sum.cachedTokens + attempt.cachedTokens,
      outputTokens: sum.outputTokens + attempt.outputTokens,
    }),
    NOTHING,
  );
}

export function difference(after: Usage, before: Usage): Usage {
  return {
    promptTokens: after.promptTokens - before.promptTokens,
    cachedTokens: after.cachedTokens - before.cachedTokens,
    outputTokens: after.outputTokens - before.outputTokens,
  };
}

/**
 * The reservation after a report, before any tokens move. An attempt that was not heard of before counts from
 * zero; a field never falls, and a final attempt stays final.
 */
export function reported(reservation: Reservation, report: AttemptReport, nowMs: number): Reservation {
  const attempts = [...reservation.attempts];
  while (attempts.length <= report.attempt)
    attempts.push({ ...NOTHING, final: attempts.length < report.attempt });
  const before = attempts[report.attempt]!;
  attempts[report.attempt] = {
    promptTokens: Math.max(before.promptTokens, report.usage.promptTokens),
    cachedTokens: Math.max(before.cachedTokens, report.usage.cachedTokens),
    outputTokens: Math.max(before.outputTokens, report.usage.outputTokens),
    final: before.final || report.final,
  };
  return {
    ...reservation,
    attempts,
    deadlineMs: Math.max(reservation.deadlineMs, nowMs + REPORT_SILENCE_MAX_MS),
  };
}

/** The reservation after word of an answer that nobody has yet: it lives on, nothing is settled. */
export function awaited(reservation: Reservation, nowMs: number): Reservation {
  return {
    ...reservation,
    deadlineMs: Math.max(reservation.deadlineMs, nowMs + REPORT_SILENCE_MAX_MS),
  };
}

/** True once its latest attempt has ended. An earlier one is superseded, even if its gate died silently. */
export function isOver({ attempts }: Reservation): boolean {
  return attempts.at(-1)?.final ?? false;
}

/** Output tokens that a running request should hold: the next seconds at its own pace. */
export function holdAheadTokens(tokensPerSecond: number): number {
  return Math.max(RESERVE_AHEAD_MIN_TOKENS, Math.ceil((tokensPerSecond * RESERVE_AHEAD_MS) / 1_000));
}
