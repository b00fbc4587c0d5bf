import { FIRST_STEP_TOKENS, LEASE_TTL_MS, RESERVE_AHEAD_MS } from "../bounds.ts";
import { COLD_REQUEST_TOKENS, COLD_REQUESTS_PER_MINUTE, PACE_AHEAD_MAX_MS } from "./bounds.ts";
import type { Pace } from "./lease.ts";

export const NO_PACE: Pace = { tokensPerSecond: 0, streams: 0, meanTokens: 0 };

/**
 * What leases use of an account's rate elsewhere, as their holders last said. A gauge, stale by seconds: it decides how much
 * is admitted, and no bound rests on it.
 */
export interface Elsewhere {
  readonly pace: Pace;
  /** What the holders may count on by their terms, or use already where that is more. */
  readonly allottedPerSecond: number;
  readonly atMs: number;
}

export const NOTHING_ELSEWHERE: Elsewhere = { pace: NO_PACE, allottedPerSecond: 0, atMs: 0 };

/** Weight of the latest request in the average. */
const LEARNING = 0.05;

/**
 * A stream goes at another pace now; 0 before: it begins, 0 after: it has ended. Streams that began where none were counted
 * yet (rows of a version before) end as if they had never been.
 */
export function repaced(pace: Pace, before: number, after: number): Pace {
  return {
    ...pace,
    tokensPerSecond: Math.max(0, pace.tokensPerSecond + after - before),
    streams: Math.max(0, pace.streams + (after > 0 ? 1 : 0) - (before > 0 ? 1 : 0)),
  };
}

/** A request has used so many tokens in all. */
export function learnt(pace: Pace, usedTokens: number): Pace {
  const { meanTokens } = pace;
  const mean = meanTokens === 0 ? usedTokens : meanTokens + (usedTokens - meanTokens) * LEARNING;
  return { ...pace, meanTokens: Math.round(mean) };
}

/** Streams of several places as if they ran in one. */
export function together(paces: readonly Pace[]): Pace {
  const sum = (of: (pace: Pace) => number) => paces.reduce((total, pace) => total + of(pace), 0);
  const streams = sum((pace) => pace.streams);
  const meanTokens =
    streams === 0
      ? Math.max(0, ...paces.map((pace) => pace.meanTokens))
      : Math.round(sum((pace) => pace.meanTokens * pace.streams) / streams);
  return { tokensPerSecond: sum((pace) => pace.tokensPerSecond), streams, meanTokens };
}

/** What an account knows of the requests that it has admitted. */
export interface Admitted {
  readonly pace: Pace;
  readonly elsewhere: Elsewhere;
  /** Of which nothing was heard yet. */
  readonly heldRequests: number;
}

/**
 * Tokens that an admission at home leaves aside: for what runs, here and on leases, and for requests of which nothing was heard
 * yet. These are taken to use what those before used beyond the first step that each of them holds; or a crowd that
 * comes within a second would be let in whole, before any of it has shown its pace.
 */
export function asideTokens(
  { elsewhere, heldRequests, pace }: Admitted,
  perMinute: number,
  nowMs: number,
): number {
  const beyondStepTokens = Math.max(0, expectedTokens(pace.meanTokens, perMinute) - FIRST_STEP_TOKENS);
  return aheadTokens(pace, perMinute, elsewhere, nowMs) + Math.ceil(heldRequests * beyondStepTokens);
}

/** What a request is taken to use. Of a tenant none of whose requests has ended yet: little for its rate, so that a few are let in. */
function expectedTokens(meanTokens: number, perMinute: number): number {
  return meanTokens > 0 ? meanTokens : Math.min(COLD_REQUEST_TOKENS, perMinute / COLD_REQUESTS_PER_MINUTE);
}

/**
 * Tokens that admission leaves to what runs now: it reserves only a first step of each stream, so without this it would let in
 * more streams than the rate can feed, and all of them would run into debt. First, what it will use beyond the refill until as much time has passed as
 * one stream takes: the level falls by (pace − rate) a second, and streams that are not followed by others end within
 * their length, so a level above this never falls below zero for long. Second, what its next extensions ask for. At home the
 * first counts what leases use elsewhere, since the same refill feeds it; the second they hold themselves.
 */
export function aheadTokens(
  pace: Pace,
  perMinute: number,
  elsewhere: Elsewhere = NOTHING_ELSEWHERE,
  nowMs = 0,
): number {
  const { perSecond, pace: others } = elsewhereAt(elsewhere, nowMs);
  const { meanTokens, streams, tokensPerSecond } = together([pace, others]);
  const next = nextTokens(pace.tokensPerSecond);
  if (streams === 0 || tokensPerSecond === 0) return next;
  const beyondPerSecond = Math.max(0, pace.tokensPerSecond + perSecond - perMinute / 60);
  const expected = expectedTokens(meanTokens, perMinute);
  const lengthMs = Math.min(PACE_AHEAD_MAX_MS, (expected * streams * 1_000) / tokensPerSecond);
  return Math.ceil((beyondPerSecond * lengthMs) / 1_000) + next;
}

/** What streams of this pace together are extended by until admission is asked again with newer reports. */
export function nextTokens(tokensPerSecond: number): number {
  return Math.ceil((tokensPerSecond * RESERVE_AHEAD_MS) / 1_000);
}

/**
 * What is still to be counted of what leases use, when nobody has renewed one for a while: a lease that has ended admits
 * nothing more, but its streams run on, as long as streams take.
 */
function elsewhereAt(
  { allottedPerSecond, atMs, pace }: Elsewhere,
  nowMs: number,
): { readonly pace: Pace; readonly perSecond: number } {
  const silentMs = nowMs - atMs;
  if (silentMs < LEASE_TTL_MS) return { pace, perSecond: allottedPerSecond };
  if (silentMs < PACE_AHEAD_MAX_MS) return { pace, perSecond: pace.tokensPerSecond };
  return { pace: NO_PACE, perSecond: 0 };
}
