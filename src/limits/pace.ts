import { RESERVE_AHEAD_MS } from "../bounds.ts";
import { PACE_AHEAD_MAX_MS } from "./bounds.ts";

/**
 * How fast an account's running streams use tokens, and how much one request uses in the end. Admission reserves only a
 * first step of each stream, so without this it would let in more streams than the rate can feed, and all of them would
 * run into debt. In weighted tokens.
 */
export interface Pace {
  /** All running streams together, by their last reports. */
  readonly tokensPerSecond: number;
  readonly streams: number;
  /** What a request uses from its first token to its last: a moving average. */
  readonly meanTokens: number;
}

export const NO_PACE: Pace = { tokensPerSecond: 0, streams: 0, meanTokens: 0 };

/** Weight of the latest request in the average. */
const LEARNING = 0.05;

/** A stream goes at another pace now; 0 before: it begins, 0 after: it has ended. */
export function repaced(pace: Pace, before: number, after: number): Pace {
  return {
    ...pace,
    tokensPerSecond: pace.tokensPerSecond + after - before,
    streams: pace.streams + (after > 0 ? 1 : 0) - (before > 0 ? 1 : 0),
  };
}

/** A request has used so much in all. */
export function learnt(pace: Pace, usedTokens: number): Pace {
  const { meanTokens } = pace;
  const mean = meanTokens === 0 ? usedTokens : meanTokens + (usedTokens - meanTokens) * LEARNING;
  return { ...pace, meanTokens: Math.round(mean) };
}

/**
 * Tokens that admission leaves to what runs now. First, what it will use beyond the refill until as much time has passed as
 * one stream takes: the level falls by (pace − rate) a second, and streams that are not followed by others end within
 * their length, so a level above this never falls below zero for long. Second, what its next extensions ask for.
 */
export function aheadTokens(pace: Pace, perMinute: number): number {
  const { meanTokens, streams, tokensPerSecond } = pace;
  if (streams === 0) return 0;
  const beyondPerSecond = Math.max(0, tokensPerSecond - perMinute / 60);
  const lengthMs = Math.min(PACE_AHEAD_MAX_MS, (meanTokens * streams * 1_000) / tokensPerSecond);
  return Math.ceil((beyondPerSecond * lengthMs) / 1_000) + nextTokens(tokensPerSecond);
}

/** What streams of this pace together are extended by until admission is asked again with newer reports. */
export function nextTokens(tokensPerSecond: number): number {
  return Math.ceil((tokensPerSecond * RESERVE_AHEAD_MS) / 1_000);
}
