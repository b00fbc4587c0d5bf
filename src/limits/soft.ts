import type { Failure } from "../errors.ts";
import type { Ask } from "./account.ts";
import { free, giveBackAll, isLive, type LeaseAccount, leaseTime } from "./lease-holder.ts";

/**
 * A lease before an admission on trust. One that has ended gives up what it has free: the home may have counted it as spent
 * and refilled it since, so only the allowance may be drawn on.
 */
export function softTime(account: LeaseAccount, nowMs: number): LeaseAccount {
  const now = leaseTime(account, nowMs);
  return isLive(now, nowMs) ? now : giveBackAll(now);
}

/**
 * Admission beyond the lease while the home is out of reach: free tokens may fall to `-allowanceTokens`, and the home
 * takes what was spent as debt when it is back. Bounded, and only where a tenant's operator asked for it.
 */
export function softRefusal(account: LeaseAccount, ask: Ask, allowanceTokens: number): Failure | null {
  if (free(account).tokens + allowanceTokens >= ask.tokens) return null;
  const internalDetail = `home out of reach, and the soft allowance of ${account.scope} is used up`;
  return { tag: "budget_unavailable", retryAfterMs: 5_000, internalDetail };
}

export function softAdmit(account: LeaseAccount, tokens: number, requests: number): LeaseAccount {
  return {
    ...account,
    heldTokens: account.heldTokens + tokens,
    heldRequests: account.heldRequests + requests,
    open: account.open + requests,
  };
}
