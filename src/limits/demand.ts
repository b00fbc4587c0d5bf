import { FIRST_STEP_TOKENS, LEASE_TTL_MS } from "../bounds.ts";
import { NONE, type Quantity } from "./lease.ts";

/**
 * How much one location asks for, as moving averages over a few seconds. It decides who earns a lease and how large it
 * is; nothing about correctness hangs on it, so it lives in memory and starts anew with the object.
 */
export interface Demand {
  readonly tokensPerSecond: number;
  readonly requestsPerSecond: number;
  /** Largest single reservation lately; decays with the rest. */
  readonly largestTokens: number;
  readonly atMs: number;
}

export const NO_DEMAND: Demand = { tokensPerSecond: 0, requestsPerSecond: 0, largestTokens: 0, atMs: 0 };

/** Time constant of the averages. */
const WINDOW_MS = 5_000;
/** Sustained requests that are worth a lease; below half of it the lease is not renewed. */
const EARNING_REQUESTS_PER_SECOND = 1;

/** Demand after a request for `tokens`, or after a block of `requests` for `tokens` together. */
export function demanded(demand: Demand, tokens: number, nowMs: number, requests = 1): Demand {
  const faded = fade(demand, nowMs);
  return {
    tokensPerSecond: faded.tokensPerSecond + (tokens * 1_000) / WINDOW_MS,
    requestsPerSecond: faded.requestsPerSecond + (requests * 1_000) / WINDOW_MS,
    largestTokens: Math.max(faded.largestTokens, tokens / requests),
    atMs: nowMs,
  };
}

/** Demand after running requests have used `tokens`: to go on they need as many again. */
export function extended(demand: Demand, tokens: number, nowMs: number): Demand {
  const faded = fade(demand, nowMs);
  return { ...faded, tokensPerSecond: faded.tokensPerSecond + (tokens * 1_000) / WINDOW_MS };
}

/** What a lease should hold free to serve one time to live without asking. Only tokens where requests run on and none come; nothing for a location that is idle. */
export function wanted(demand: Demand, nowMs: number): Quantity {
  const { tokensPerSecond, requestsPerSecond, largestTokens } = fade(demand, nowMs);
  const seconds = LEASE_TTL_MS / 1_000;
  if (requestsPerSecond < EARNING_REQUESTS_PER_SECOND / 8) {
    return tokensPerSecond < 1 ? NONE : { ...NONE, tokens: Math.ceil(tokensPerSecond * seconds) };
  }
  return {
    tokens: Math.ceil(Math.max(tokensPerSecond * seconds, largestTokens * 2, FIRST_STEP_TOKENS)),
    requests: Math.ceil(Math.max(requestsPerSecond * seconds, 2)),
    slots: Math.ceil(Math.max(requestsPerSecond * seconds, 2)),
  };
}

/** Whether sustained demand makes a lease worth its messages. */
export function earnsLease(demand: Demand, nowMs: number): boolean {
  return fade(demand, nowMs).requestsPerSecond >= EARNING_REQUESTS_PER_SECOND;
}

/** What an isolate should be able to admit in `forMs` without asking, or null below the demand that earns a block. */
export function blockWanted(
  demand: Demand,
  forMs: number,
  earningPerSecond: number,
  nowMs: number,
): { tokens: number; requests: number } | null {
  const { tokensPerSecond, requestsPerSecond } = fade(demand, nowMs);
  if (requestsPerSecond < earningPerSecond) return null;
  const seconds = forMs / 1_000;
  return { tokens: Math.ceil(tokensPerSecond * seconds), requests: Math.ceil(requestsPerSecond * seconds) };
}

function fade(demand: Demand, nowMs: number): Demand {
  const share = Math.exp(-Math.max(0, nowMs - demand.atMs) / WINDOW_MS);
  return {
    tokensPerSecond: demand.tokensPerSecond * share,
    requestsPerSecond: demand.requestsPerSecond * share,
    largestTokens: demand.largestTokens * share,
    atMs: nowMs,
  };
}
