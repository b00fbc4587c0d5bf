import { LEASE_TTL_MS } from "../bounds.ts";
import type { Failure } from "../errors.ts";
import type { Ask } from "./account.ts";
import {
  furthest,
  isNone,
  type LeaseTerms,
  minus,
  NONE,
  type Pace,
  plus,
  positive,
  type Quantity,
  type Renewal,
} from "./lease.ts";
import { aheadTokens, learnt, NO_PACE, repaced } from "./pace.ts";

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
  /** Settled and returned together, as far as the home is known to have heard. */
  readonly heard: Quantity;
  /** The latest renewal that the home is known to have seen. */
  readonly answered: number;
  /** Running streams that the latest renewal told of. */
  readonly toldStreams: number;
  readonly heldTokens: number;
  /** Requests of which nothing was heard yet. */
  readonly heldRequests: number;
  /** Requests that run, and places that blocks hold. */
  readonly open: number;
  /** Of the streams that run on it. */
  readonly pace: Pace;
  /** What of the home's rate they may count on, by the latest terms; null: not known, or there is none. */
  readonly ratePerMinute: number | null;
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
    heard: NONE,
    answered: 0,
    toldStreams: 0,
    heldTokens: 0,
    heldRequests: 0,
    open: 0,
    pace: NO_PACE,
    ratePerMinute: null,
    deadlineMs: 0,
    seenMs: nowMs,
  };
}

/** What may be drawn or given back now. Tokens below zero: overrun that the home will take from its account. */
export function free(account: LeaseAccount): Quantity {
  return minus(minus(account.granted, plus(account.settled, account.returned)), held(account));
}

/** What running requests hold. */
function held({ heldTokens, heldRequests, open }: LeaseAccount): Quantity {
  return { tokens: heldTokens, requests: heldRequests, slots: open };
}

/**
 * True when the home knows that nothing is outstanding and nothing runs, and no renewal is under way that could change it.
 * Until then an idle holder keeps giving back and renewing: its last word, or a late grant, may have been lost (L1).
 */
export function isClosed(account: LeaseAccount): boolean {
  const atHome = minus(account.granted, account.heard);
  const isHeard = account.answered === account.sequence && account.toldStreams === 0;
  return isHeard && isNone(held(account)) && isNone(atHome);
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
  const spareTokens = left.tokens - leaseAhead(account);
  const enough = spareTokens >= ask.tokens && left.requests >= 1 && left.slots >= 1;
  if (isLive(account, nowMs) && enough) return null;
  return {
    tag: "budget_unavailable",
    retryAfterMs: 1_000,
    internalDetail: `no room in the lease of ${account.scope}`,
  };
}

/** As at home, by the part of the rate that this lease may count on: with no more of it, what is free has to last. */
function leaseAhead({ pace, ratePerMinute }: LeaseAccount): number {
  return aheadTokens(pace, ratePerMinute ?? Infinity);
}

export function leaseAdmit(account: LeaseAccount, tokens: number, requests: number): LeaseAccount {
  const after = {
    ...account,
    heldTokens: account.heldTokens + tokens,
    heldRequests: account.heldRequests + requests,
    open: account.open + requests,
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
  if (tokens > free(account).tokens) {
    throw new Error(`limits: the lease of ${account.scope} would be overdrawn (I1)`);
  }
  return { ...account, heldTokens: account.heldTokens + tokens };
}

export function leaseSettle(account: LeaseAccount, usedTokens: number, fromHeld: number): LeaseAccount {
  assertHeld(account, fromHeld);
  return {
    ...account,
    settled: plus(account.settled, { ...NONE, tokens: usedTokens }),
    heldTokens: account.heldTokens - fromHeld,
  };
}

export function leaseRelease(account: LeaseAccount, tokens: number): LeaseAccount {
  assertHeld(account, tokens);
  return { ...account, heldTokens: account.heldTokens - tokens };
}

export function leaseLeave(account: LeaseAccount, places: number): LeaseAccount {
  if (account.open < places) {
    throw new Error(`limits: the lease of ${account.scope} has no ${places} open requests to end`);
  }
  return { ...account, open: account.open - places };
}

/** One of its streams goes at another pace. */
export function leaseRepace(account: LeaseAccount, before: number, after: number): LeaseAccount {
  return before === after ? account : { ...account, pace: repaced(account.pace, before, after) };
}

/** One of its requests has ended that used so many tokens. */
export function leaseLearn(account: LeaseAccount, usedTokens: number): LeaseAccount {
  return { ...account, pace: learnt(account.pace, usedTokens) };
}

/** They run and count; the home may refill them. */
export function leaseSpendRequests(account: LeaseAccount, requests: number): LeaseAccount {
  const after = leaseReturnRequests(account, requests);
  return { ...after, settled: plus(after.settled, { ...NONE, requests }) };
}

/** Nothing ran: the requests are free again. */
export function leaseReturnRequests(account: LeaseAccount, requests: number): LeaseAccount {
  if (account.heldRequests < requests) {
    throw new Error(`limits: the lease of ${account.scope} holds no ${requests} requests`);
  }
  return { ...account, heldRequests: account.heldRequests - requests };
}

/** What a block could be set aside from: nothing once the lease has ended. */
export function leaseRoom(account: LeaseAccount, nowMs: number): Quantity {
  if (!isLive(account, nowMs)) return NONE;
  return minus(free(account), { ...NONE, tokens: leaseAhead(account) });
}

export function leaseLiveMs(account: LeaseAccount, nowMs: number): number {
  return Math.max(0, account.deadlineMs - nowMs);
}

/**
 * The next renewal: what was used, and how much is wanted `free` beside what running requests hold. Sent only once the
 * account that comes back is written, or a second message could carry the same number.
 */
export function renewal(
  account: LeaseAccount,
  holder: string,
  wantFree: Quantity,
): { account: LeaseAccount; message: Renewal } {
  const after = { ...account, sequence: account.sequence + 1, toldStreams: account.pace.streams };
  const { scope, lease, sequence, settled, returned, heldTokens, pace } = after;
  const want = plus(wantFree, held(account));
  return {
    account: after,
    message: { holder, scope, lease, sequence, settled, returned, want, heldTokens, pace },
  };
}

/**
 * Takes the home's terms. `sentAtMs` is when the renewal left, so that however long the answer took, the lease ends
 * here before it ends at home; an answer to a renewal "from the future" comes from before a step of the clock and sets
 * no deadline. Terms of another lease replace this one: the home has written the old one off, all of it counted as
 * spent, so nothing of it may be carried over but the requests that still run.
 */
export function takeTerms(
  account: LeaseAccount,
  terms: LeaseTerms,
  sentAtMs: number,
  nowMs: number,
): LeaseAccount {
  if (terms.lease < account.lease) return account;
  const base = terms.lease === account.lease ? account : adopted(account, terms, nowMs);
  const deadlineMs = sentAtMs > nowMs ? 0 : sentAtMs + Math.min(terms.ttlMs, LEASE_TTL_MS);
  const after = {
    ...base,
    granted: furthest(base.granted, terms.granted),
    heard: furthest(base.heard, plus(terms.settled, terms.returned)),
    answered: Math.max(base.answered, terms.sequence),
    // A home that has seen more than was sent knew an earlier holder of this name; lower numbers get nothing.
    sequence: Math.max(base.sequence, terms.sequence),
    deadlineMs: Math.max(base.deadlineMs, deadlineMs),
    ...(terms.sequence < base.answered ? {} : counted(base, terms)),
  };
  // Tokens are used up, but places come back to the lease: only what nothing runs in can be given back.
  const keepSlots = Math.max(0, (terms.keepSlots ?? Infinity) - after.open);
  return giveBack(after, terms.keepTokens ?? Infinity, keepSlots);
}

/** The gauges of terms that are not older than the last. */
function counted({ pace }: LeaseAccount, terms: LeaseTerms): Pick<LeaseAccount, "pace" | "ratePerMinute"> {
  const { meanTokens = 0, ratePerMinute = null } = terms;
  // Until a request has ended here, what others have seen is the best guess at how long one is.
  return { pace: pace.meanTokens === 0 ? { ...pace, meanTokens } : pace, ratePerMinute };
}

/**
 * A lease new to this holder. Running requests keep what they hold and settle against it, never twice. What was used
 * beyond the old grant the home never counted, so it is told again.
 */
function adopted(account: LeaseAccount, terms: LeaseTerms, nowMs: number): LeaseAccount {
  const { sequence, answered, toldStreams, heldTokens, heldRequests, open, pace } = account;
  const overrun = positive(minus(plus(account.settled, account.returned), account.granted));
  return {
    ...newLease(account.scope, nowMs),
    lease: terms.lease,
    settled: furthest(terms.settled, overrun),
    returned: terms.returned,
    ...{ sequence, answered, toldStreams, heldTokens, heldRequests, open, pace },
  };
}

/** Returns what is free above what may be kept; the next renewal tells the home. */
export function giveBack(account: LeaseAccount, keepTokens: number, keepSlots = Infinity): LeaseAccount {
  const left = free(account);
  const back = positive({ tokens: left.tokens - keepTokens, requests: 0, slots: left.slots - keepSlots });
  return isNone(back) ? account : { ...account, returned: plus(account.returned, back) };
}

/** Returns all that is free: the location has been idle. */
export function giveBackAll(account: LeaseAccount): LeaseAccount {
  return { ...account, returned: plus(account.returned, positive(free(account))) };
}

function assertHeld(account: LeaseAccount, tokens: number): void {
  if (tokens < 0 || tokens > account.heldTokens) {
    throw new Error(`limits: the lease of ${account.scope} holds ${account.heldTokens}, not ${tokens} (I1)`);
  }
}
