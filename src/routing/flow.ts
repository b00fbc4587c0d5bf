/**
 * A leaky bucket as a meter: tokens that really flowed pour in, the allowed rate drains it. Over one second's worth
 * it says no, until it has drained. It measures what a pool serves, so it bounds hardware and not a tenant.
 */
export interface Flow {
  readonly levelTokens: number;
  readonly atMs: number;
}

export const NO_FLOW: Flow = { levelTokens: 0, atMs: 0 };

export function poured(flow: Flow, tokens: number, tokensPerSecond: number, nowMs: number): Flow {
  return { levelTokens: drained(flow, tokensPerSecond, nowMs) + tokens, atMs: Math.max(flow.atMs, nowMs) };
}

/** Milliseconds until the meter allows more; 0: now. */
export function flowWaitMs(flow: Flow, tokensPerSecond: number, nowMs: number): number {
  const excess = drained(flow, tokensPerSecond, nowMs) - tokensPerSecond;
  return excess <= 0 ? 0 : Math.ceil((excess * 1_000) / tokensPerSecond);
}

function drained(flow: Flow, tokensPerSecond: number, nowMs: number): number {
  return Math.max(0, flow.levelTokens - (tokensPerSecond * Math.max(0, nowMs - flow.atMs)) / 1_000);
}
