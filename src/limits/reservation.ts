import { REPORT_SILENCE_MAX_MS, RESERVE_AHEAD_MIN_TOKENS, RESERVE_AHEAD_MS } from "../bounds.ts";
import type { Weights } from "../catalogue.ts";
import type { Usage } from "../contract/report.ts";
import { RACE_WORD_MS } from "./bounds.ts";
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
  /** Another attempt runs for the same answer: only one of them will be charged, and it is not known which. */
  readonly racing?: true;
  /** Another one made the answer: whatever is reported of this one, nobody pays for it. */
  readonly lost?: true;
  /** No report of it has come that could be settled. */
  readonly unheard?: true;
  /** It runs, as a gate said that has nothing to settle of it yet. */
  readonly begun?: true;
}

/** What a report says of one attempt. */
export interface AttemptReport {
  readonly attempt: number;
  readonly usage: Usage;
  readonly final: boolean;
  readonly tokensPerSecond: number;
}

/** Whether what was reported of an attempt is on the bill. */
function counts({ racing, lost }: Attempt): boolean {
  return racing !== true && lost !== true;
}

export function isRacing({ attempts }: Pick<Reservation, "attempts">): boolean {
  return attempts.some(({ racing }) => racing);
}

/** Whether any gate has told of an attempt that counts or may yet. */
export function isHeardOf({ attempts }: Reservation): boolean {
  return attempts.some(({ unheard, lost }) => !unheard && !lost);
}

/**
 * Whether any gate has told of any attempt, one that lost included: from then on its request is spent. Once true, always
 * true, so that a request is spent or given back once, whoever made the answer.
 */
export function hasRun({ attempts }: Reservation): boolean {
  return attempts.some(({ begun, unheard }) => begun || !unheard);
}

const NOTHING: Attempt = { promptTokens: 0, cachedTokens: 0, outputTokens: 0, final: false };

export function usedTokens({ attempts }: Reservation): number {
  return attempts
    .filter(counts)
    .reduce((sum, attempt) => sum + attempt.promptTokens + attempt.outputTokens, 0);
}

/**
 * Weighted tokens to be settled for what was reported. `over`: nothing more is to come, so that what is not known to have
 * been cached was not.
 */
export function owedTokens({ attempts, weights }: Reservation, over: boolean): number {
  const charged = attempts.filter(counts);
  return weightedUsage(over ? charged.map((attempt) => ({ ...attempt, final: true })) : charged, weights);
}

/** Usage over all attempts. */
export function usageOf({ attempts }: Reservation): Usage {
  return attempts.filter(counts).reduce<Usage>(
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
  const { begun: _b, unheard: _u, ...before } = attempts[report.attempt]!;
  if (before.lost) return reservation;
  attempts[report.attempt] = {
    ...before,
    promptTokens: Math.max(before.promptTokens, report.usage.promptTokens),
    cachedTokens: Math.max(before.cachedTokens, report.usage.cachedTokens),
    outputTokens: Math.max(before.outputTokens, report.usage.outputTokens),
    final: before.final || report.final,
  };
  return { ...reservation, attempts, deadlineMs: nextDeadlineMs(reservation, attempts, nowMs) };
}

/**
 * Once nothing but word of who made the answer is waited for, it is soon; no repeated report puts that off. Nor does any put
 * off what is over.
 */
function nextDeadlineMs(before: Reservation, attempts: readonly Attempt[], nowMs: number): number {
  if (before.state !== "open") return before.deadlineMs;
  if (!awaitsWord({ attempts })) return Math.max(before.deadlineMs, nowMs + REPORT_SILENCE_MAX_MS);
  return awaitsWord(before) ? before.deadlineMs : nowMs + RACE_WORD_MS;
}

/** The reservation after word of an answer that nobody has yet: it lives on and has run, nothing is settled. */
export function awaited(reservation: Reservation, attempt: number, nowMs: number): Reservation {
  const attempts = [...reservation.attempts];
  while (attempts.length <= attempt) {
    attempts.push({ ...NOTHING, final: attempts.length < attempt, unheard: true });
  }
  if (attempts[attempt]!.unheard) attempts[attempt] = { ...attempts[attempt]!, begun: true };
  return {
    ...reservation,
    attempts,
    deadlineMs: Math.max(reservation.deadlineMs, nowMs + REPORT_SILENCE_MAX_MS),
  };
}

/**
 * True once its latest attempt has ended. An earlier one is superseded, even if its gate died silently. While two race,
 * nothing is over: who made the answer is to be said first, also where others came after them.
 */
export function isOver({ attempts }: Pick<Reservation, "attempts">): boolean {
  return latestOf(attempts)?.final === true && !isRacing({ attempts });
}

/** True when all has ended, and only who made the answer is not known. Where that word was lost, it never comes. */
export function awaitsWord({ attempts }: Pick<Reservation, "attempts">): boolean {
  const last = latestOf(attempts);
  if (last?.final !== true || isOver({ attempts })) return false;
  return !last.racing || attempts.every(({ final, racing }) => !racing || final);
}

function latestOf(attempts: readonly Attempt[]): Attempt | undefined {
  return attempts.findLast(({ lost }) => !lost);
}

/** The reservation with attempts that race; null when something is on the bill already of one that would. */
export function raced(reservation: Reservation, racing: readonly number[]): Reservation | null {
  const first = Math.min(...racing);
  if (reservation.state !== "open" || reservation.attempts.length > first) return null;
  const attempts = [...reservation.attempts];
  while (attempts.length < first) attempts.push({ ...NOTHING, final: true, unheard: true });
  while (attempts.length <= Math.max(...racing)) attempts.push({ ...NOTHING, racing: true, unheard: true });
  return { ...reservation, attempts };
}

/** The reservation once it is known who made the answer; null when `winner` does not race. */
export function elected(reservation: Reservation, winner: number): Reservation | null {
  if (!reservation.attempts[winner]?.racing) return null;
  const attempts = reservation.attempts.map((attempt, index): Attempt => {
    if (!attempt.racing) return attempt;
    const { racing: _, ...served } = attempt;
    const begun = attempt.begun ? { begun: true as const } : {};
    const unheard = attempt.unheard ? { unheard: true as const, ...begun } : {};
    if (index !== winner) return { ...NOTHING, final: true, lost: true, ...unheard };
    return served;
  });
  return { ...reservation, attempts };
}

/**
 * Who pays where nobody said who made the answer: of those that race and were heard of, the one that cost most. Null where
 * there is none.
 */
export function likelyWinner({ attempts }: Reservation): number | null {
  let most: number | null = null;
  const cost = (index: number) => attempts[index]!.promptTokens + attempts[index]!.outputTokens;
  for (const [index, { racing, unheard }] of attempts.entries()) {
    if (racing && !unheard && (most === null || cost(index) > cost(most))) most = index;
  }
  return most;
}

/** The reservation as it would be if nobody ever said who made the answer. */
export function presumed(reservation: Reservation): Reservation {
  const winner = likelyWinner(reservation);
  return winner === null ? reservation : (elected(reservation, winner) ?? reservation);
}

/** Output tokens that a running request should hold: the next seconds at its own pace. */
export function holdAheadTokens(tokensPerSecond: number): number {
  return Math.max(RESERVE_AHEAD_MIN_TOKENS, Math.ceil((tokensPerSecond * RESERVE_AHEAD_MS) / 1_000));
}
