import { LEASE_TTL_MS, LEASE_WRITE_OFF_MS, REQUEST_DEADLINE_MS } from "../bounds.ts";
import type { Limits } from "../catalogue.ts";
import { type Account, committed, settleTime } from "./account.ts";
import { available, take, UNITS_PER_TOKEN } from "./bucket.ts";
import { furthest, type LeaseTerms, minus, NONE, plus, type Quantity, type Renewal } from "./lease.ts";
import { spend } from "./window.ts";

/** The home's side of one lease. */
export interface Lease {
  readonly holder: string;
  readonly scope: string;
  /** Grows with every new lease of this holder and scope. */
  readonly id: number;
  readonly granted: Quantity;
  readonly settled: Quantity;
  readonly returned: Quantity;
  readonly sequence: number;
  /** When the holder was last heard of, on the home's clock. */
  readonly contactMs: number;
  /** What the holder asked for and did not get, at its last contact. */
  readonly shortTokens: number;
  readonly state: "open" | "written_off";
}

export function outstanding({ granted, settled, returned, state }: Lease): Quantity {
  if (state === "written_off") return NONE;
  const left = minus(granted, plus(settled, returned));
  return {
    tokens: Math.max(0, left.tokens),
    requests: Math.max(0, left.requests),
    slots: Math.max(0, left.slots),
  };
}

/** Everything that is leased out of one account. */
export function leasedOut(leases: readonly Lease[]): Quantity {
  return leases.reduce((sum, lease) => plus(sum, outstanding(lease)), NONE);
}

/**
 * Takes a renewal: accounts for what was settled and returned, then grants what is wanted as far as the account and
 * the fair share of all who spend allow. A grant debits the account now.
 */
export function renew(
  account: Account,
  limits: Limits,
  known: Lease | undefined,
  message: Renewal,
  share: Share,
  nowMs: number,
): { account: Account; lease: Lease; terms: LeaseTerms } {
  const lease = current(known, message, nowMs);
  // Old news of a lease that was written off: all of it has been counted as spent already.
  const stale = message.lease !== 0 && message.lease !== lease.id;
  let after = lease;
  let purse = settleTime(account, limits, nowMs);
  if (!stale) ({ account: purse, lease: after } = accountFor(purse, lease, message));
  purse = settleTime(purse, limits, nowMs);
  const fresh = message.sequence > lease.sequence;
  if (fresh) {
    const grant = grantable(purse, limits, outstanding(after), message.want, share);
    purse = debit(purse, grant);
    after = {
      ...after,
      granted: plus(after.granted, grant),
      sequence: message.sequence,
      contactMs: nowMs,
      shortTokens: Math.max(0, message.want.tokens - outstanding(after).tokens - grant.tokens),
    };
  }
  assertBound(purse, limits);
  const keepTokens = share.othersShort ? share.tokens : null;
  const terms = {
    scope: lease.scope,
    lease: after.id,
    granted: after.granted,
    ttlMs: LEASE_TTL_MS,
    keepTokens,
  };
  return { account: purse, lease: after, terms };
}

/** What one holder may have of an account that several spend. */
export interface Share {
  readonly tokens: number;
  readonly requests: number;
  readonly slots: number;
  /** Somebody else asked for more than there was. */
  readonly othersShort: boolean;
}

/**
 * Counts a lease as spent whose holder was not heard of for so long that it can have admitted nothing since: its
 * deadline passed on its own clock, however that drifts. Tokens never come back by time alone. Places among concurrent
 * requests do, after the longest life of a request.
 */
export function writeOff(
  account: Account,
  limits: Limits,
  lease: Lease,
  nowMs: number,
): { account: Account; lease: Lease } | null {
  const silentMs = nowMs - lease.contactMs;
  const left = outstanding(lease);
  const empty = left.tokens === 0 && left.requests === 0 && left.slots === 0;
  if (lease.state === "written_off" || empty || silentMs < LEASE_WRITE_OFF_MS + REQUEST_DEADLINE_MS)
    return null;
  const now = settleTime(account, limits, nowMs);
  const after = {
    ...now,
    leased: minus(now.leased, left),
    day: spend(now.day, left.tokens),
  };
  return { account: after, lease: { ...lease, state: "written_off" } };
}

function current(known: Lease | undefined, message: Renewal, nowMs: number): Lease {
  if (known && known.state === "open") return known;
  return {
    holder: message.holder,
    scope: message.scope,
    id: (known?.id ?? 0) + 1,
    granted: NONE,
    settled: NONE,
    returned: NONE,
    sequence: known?.sequence ?? 0,
    contactMs: nowMs,
    shortTokens: 0,
    state: "open",
  };
}

/** Moves what the holder settled and returned since its last word, and takes overrun from the account as debt. */
function accountFor(account: Account, lease: Lease, message: Renewal): { account: Account; lease: Lease } {
  const settled = furthest(lease.settled, message.settled);
  const returned = furthest(lease.returned, message.returned);
  const used = minus(settled, lease.settled);
  const back = minus(returned, lease.returned);
  const before = outstanding(lease);
  const unclamped = minus(lease.granted, plus(settled, returned));
  const overrun = Math.max(0, -unclamped.tokens);
  // Overrun is granted after the fact: the counters stay cumulative, and the account pays.
  const granted = plus(lease.granted, { ...NONE, tokens: overrun });
  const after = { ...lease, granted, settled, returned };
  const freed = minus(before, outstanding(after));
  return {
    account: {
      ...account,
      tokens: take(account.tokens, overrun - back.tokens),
      requests: take(account.requests, -back.requests),
      leased: minus(account.leased, freed),
      day: spend(account.day, used.tokens),
    },
    lease: after,
  };
}

function grantable(account: Account, limits: Limits, has: Quantity, want: Quantity, share: Share): Quantity {
  const { tokensPerMinute, tokensPerDay, requestsPerMinute, concurrentRequests } = limits;
  const byMinute = tokensPerMinute === undefined ? Infinity : available(account.tokens);
  const byDay = tokensPerDay === undefined ? Infinity : tokensPerDay - committed(account);
  const byRate = requestsPerMinute === undefined ? Infinity : available(account.requests);
  const places = account.open + account.leased.slots;
  const byPlaces = concurrentRequests === undefined ? Infinity : concurrentRequests - places;
  const room = (wanted: number, held: number, most: number, shared: number) =>
    Math.max(0, Math.floor(Math.min(wanted - held, most, shared - held)));
  return {
    tokens: room(want.tokens, has.tokens, Math.min(byMinute, byDay), share.tokens),
    requests: room(want.requests, has.requests, byRate, share.requests),
    slots: room(want.slots, has.slots, byPlaces, share.slots),
  };
}

function debit(account: Account, grant: Quantity): Account {
  return {
    ...account,
    tokens: take(account.tokens, grant.tokens),
    requests: take(account.requests, grant.requests),
    leased: plus(account.leased, grant),
  };
}

/** I2: what is left, held and leased together never exceeds the bucket. */
function assertBound(account: Account, limits: Limits): void {
  const { tokensPerMinute } = limits;
  if (tokensPerMinute === undefined) return;
  const potential = account.tokens.levelUnits / UNITS_PER_TOKEN + account.heldTokens + account.leased.tokens;
  if (potential > tokensPerMinute + 1e-6) {
    throw new Error(`limits: ${account.scope} could spend ${potential} of ${tokensPerMinute} tokens (I2)`);
  }
}
