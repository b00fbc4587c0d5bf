import { LEASE_TTL_MS } from "../bounds.ts";
import type { Failure } from "../errors.ts";
import type { Ask } from "./account.ts";
import { furthest, type LeaseTerms, minus, NONE, plus, type Quantity, type Renewal } from "./lease.ts";

/**
 * A holder's side of one lease: what a location other than the home may spend of one scope. Pure; the same operations
 * as on an account at home, so that reservations work alike in both places. There is no refill here: what is not
 * granted is not there.
 */
export interface LeaseAccount {
  readonly scope: string;
  /** 0 before the first grant. */
  readonly lease: number;
  readonly sequence: number;
  readonly granted: Quantity;
  readonly settled: Quantity;
  readonly returned: Quantity;
  readonly heldTokens: number;
  readonly heldRequests: number;
  /** Requests that run. */
  readonly open: number;
  /** On this object's clock; after it nothing new is admitted or extended. */
  readonly deadlineMs: number;
  /** The latest instant seen here. A clock that steps back ends the lease: its deadline means nothing any more. */
  readonly seenMs: number;
}

export function newLease(scope: string, nowMs: number): LeaseAccount {
  return {
    scope,
    lease: 0,
    sequence: 0,
    granted: NONE,
    settled: NONE,
    returned: NONE,
    heldTokens: 0,
    heldRequests: 0,
    open: 0,
    deadlineMs: 0,
    seenMs: nowMs,
  };
}

/** What may be drawn or given back now. Tokens below zero: overrun that the home will take from its account. */
export function free(account: LeaseAccount): Quantity {
  const held = { tokens: account.heldTokens, requests: account.heldRequests, slots: account.open };
  return minus(minus(account.granted, plus(account.settled, account.returned)), held);
}

export function leaseTime(account: LeaseAccount, nowMs: number): LeaseAccount {
  if (nowMs < account.seenMs) return { ...account, deadlineMs: 0, seenMs: nowMs };
  return { ...account, seenMs: nowMs };
}

/** Whether the lease may be drawn on at all. */
export function isLive(account: LeaseAccount, nowMs: number): boolean {
  return account.lease !== 0 && nowMs < account.deadlineMs;
}

/** Null when the lease admits; otherwise the home is to be asked, and this is not the client's answer. */
export function leaseRefusal(account: LeaseAccount, ask: Ask, nowMs: number): Failure | null {
  const left = free(account);
  const enough = left.tokens >= ask.tokens && left.requests >= 1 && left.slots >= 1;
  if (isLive(account, nowMs) && enough) return null;
  return {
    tag: "budget_unavailable",
    retryAfterMs: 1_000,
    internalDetail: `no room in the lease of ${account.scope}`,
  };
}

export function leaseAdmit(account: LeaseAccount, tokens: number): LeaseAccount {
  const after = {
    ...account,
    heldTokens: account.heldTokens + tokens,
    heldRequests: account.heldRequests + 1,
    open: account.open + 1,
  };
  const left = free(after);
  if (left.tokens < 0 || left.requests < 0 || left.slots < 0) {
    throw new Error(`limits: the lease of ${account.scope} would be overdrawn (I1)`);
  }
  return after;
}

export function leaseExtendable(account: LeaseAccount, wanted: number, nowMs: number): number {
  return isLive(account, nowMs) ? Math.max(0, Math.min(wanted, free(account).tokens)) : 0;
}

export function leaseHold(account: LeaseAccount, tokens: number): LeaseAccount {
  return { ...account, heldTokens: account.heldTokens + tokens };
}

export function leaseSettle(account: LeaseAccount, usedTokens: number, fromHeld: number): LeaseAccount {
  return {
    ...account,
    settled: plus(account.settled, { ...NONE, tokens: usedTokens }),
    heldTokens: account.heldTokens - fromHeld,
  };
}

export function leaseRelease(account: LeaseAccount, tokens: number): LeaseAccount {
  return { ...account, heldTokens: account.heldTokens - tokens };
}

export function leaseLeave(account: LeaseAccount): LeaseAccount {
  if (account.open < 1) throw new Error(`limits: the lease of ${account.scope} has no open request to end`);
  return { ...account, open: account.open - 1 };
}

/** The request is over and counts. */
export function leaseSpendRequest(account: LeaseAccount): LeaseAccount {
  if (account.heldRequests < 1) throw new Error(`limits: the lease of ${account.scope} holds no request`);
  return {
    ...account,
    heldRequests: account.heldRequests - 1,
    settled: plus(account.settled, { ...NONE, requests: 1 }),
  };
}

/** Nothing ran: the request is free again. */
export function leaseReturnRequest(account: LeaseAccount): LeaseAccount {
  return { ...account, heldRequests: account.heldRequests - 1 };
}

/** The next renewal: what was used, and what is wanted to hold free. */
export function renewal(
  account: LeaseAccount,
  holder: string,
  want: Quantity,
): { account: LeaseAccount; message: Renewal } {
  const after = { ...account, sequence: account.sequence + 1 };
  const { scope, lease, sequence, settled, returned } = after;
  return { account: after, message: { holder, scope, lease, sequence, settled, returned, want } };
}

/**
 * Takes the home's terms. `sentAtMs` is when the renewal left, so that however long the answer took, the lease ends
 * here before it ends at home. Terms of another lease replace this one: the home has written the old one off, all of
 * it counted as spent, so nothing of it may be carried over but the requests that still run.
 */
export function takeTerms(
  account: LeaseAccount,
  terms: LeaseTerms,
  sentAtMs: number,
  nowMs: number,
): LeaseAccount {
  const deadlineMs = sentAtMs + Math.min(terms.ttlMs, LEASE_TTL_MS);
  if (terms.lease !== account.lease) {
    if (terms.lease < account.lease) return account;
    // Running requests keep what they hold as a debt of the new lease: they settle against it, never twice.
    const fresh = newLease(account.scope, nowMs);
    const { sequence, heldTokens, heldRequests, open } = account;
    return {
      ...fresh,
      lease: terms.lease,
      sequence,
      granted: terms.granted,
      heldTokens,
      heldRequests,
      open,
      deadlineMs,
    };
  }
  const granted = furthest(account.granted, terms.granted);
  const after = { ...account, granted, deadlineMs: Math.max(account.deadlineMs, deadlineMs) };
  return terms.keepTokens === null ? after : giveBack(after, terms.keepTokens);
}

/** Returns what is free above `keepTokens`; the next renewal tells the home. */
export function giveBack(account: LeaseAccount, keepTokens: number): LeaseAccount {
  const excess = Math.max(0, free(account).tokens - keepTokens);
  return { ...account, returned: plus(account.returned, { ...NONE, tokens: excess }) };
}

/** Returns all that is free: the location has been idle. */
export function giveBackAll(account: LeaseAccount): LeaseAccount {
  const left = free(account);
  const back = {
    tokens: Math.max(0, left.tokens),
    requests: Math.max(0, left.requests),
    slots: Math.max(0, left.slots),
  };
  return { ...account, returned: plus(account.returned, back) };
}
