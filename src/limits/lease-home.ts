import { LEASE_TTL_MS, LEASE_WRITE_OFF_MS, REQUEST_DEADLINE_MS, START_DEADLINE_MS } from "../bounds.ts";
import type { Limits } from "../catalogue.ts";
import { type Account, committed, settleTime } from "./account.ts";
import { type Allotment, besides, heard } from "./allot.ts";
import { available, take, UNITS_PER_TOKEN } from "./bucket.ts";
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
import { NO_PACE } from "./pace.ts";
import { spend } from "./window.ts";

/** From admission to the last token, with one per cent of drift on either clock. */
const REQUEST_LIFE_MAX_MS = (START_DEADLINE_MS + REQUEST_DEADLINE_MS) * 1.02;

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
  readonly shortSlots: number;
  /** Of its running streams, at its last contact. */
  readonly pace: Pace;
  /** What they held then. */
  readonly heldTokens: number;
  /** Requests that it asked for at its last contact: its claim on the rate that nobody uses. */
  readonly wantedRequests: number;
  /** What it was told to count on then; null: no rate. */
  readonly ratePerMinute: number | null;
  readonly state: "open" | "written_off";
}

export function outstanding({ granted, settled, returned, state }: Lease): Quantity {
  if (state === "written_off") return NONE;
  return positive(minus(granted, plus(settled, returned)));
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
  // Old news of a lease that was written off: all of it has been counted as spent already. A holder without a lease
  // speaks of its first: it may have admitted on trust before it had one.
  const stale = Math.max(1, message.lease) !== lease.id;
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
      shortSlots: Math.max(0, message.want.slots - outstanding(after).slots - grant.slots),
      ...heard(message),
      ratePerMinute: share.allotment.ratePerMinute,
    };
  }
  purse = { ...purse, elsewhere: besides(share.allotment.others, after, nowMs) };
  assertBound(purse, limits);
  const terms = {
    scope: lease.scope,
    lease: after.id,
    sequence: after.sequence,
    granted: after.granted,
    settled: after.settled,
    returned: after.returned,
    ttlMs: LEASE_TTL_MS,
    keepTokens: share.othersShort ? share.tokens : null,
    keepSlots: share.othersShort ? share.slots : null,
    ratePerMinute: after.ratePerMinute,
    meanTokens: share.allotment.meanTokens,
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
  /** Of the rate, as distinct from what is left of it now. */
  readonly allotment: Allotment;
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
  const dueMs = writeOffMs(lease);
  if (dueMs === null || nowMs < dueMs) return null;
  const left = outstanding(lease);
  const now = settleTime(account, limits, nowMs);
  const after = {
    ...now,
    leased: minus(now.leased, left),
    day: spend(now.day, left.tokens),
  };
  return { account: after, lease: { ...lease, state: "written_off" } };
}

/** When a lease would be written off if its holder stayed silent, or null when there is nothing to write off. */
export function writeOffMs(lease: Lease): number | null {
  if (isNone(outstanding(lease))) return null;
  return lease.contactMs + LEASE_WRITE_OFF_MS + REQUEST_LIFE_MAX_MS;
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
    shortSlots: 0,
    pace: NO_PACE,
    heldTokens: 0,
    wantedRequests: 0,
    ratePerMinute: null,
    state: "open",
  };
}

/** Moves what the holder settled and returned since its last word, and takes overrun from the account as debt. */
function accountFor(account: Account, lease: Lease, message: Renewal): { account: Account; lease: Lease } {
  const settled = furthest(lease.settled, message.settled);
  const returned = furthest(lease.returned, message.returned);
  const used = minus(settled, lease.settled);
  const back = minus(returned, lease.returned);
  // What was used beyond the grant (overrun, or requests carried over from a lease that was written off) is granted
  // after the fact: the counters stay cumulative, outstanding stays their plain difference, and the account pays.
  const overrun = positive(minus(plus(settled, returned), lease.granted));
  const after = { ...lease, granted: plus(lease.granted, overrun), settled, returned };
  const freed = minus(outstanding(lease), outstanding(after));
  return {
    account: {
      ...account,
      tokens: take(account.tokens, overrun.tokens - back.tokens),
      requests: take(account.requests, overrun.requests - back.requests),
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

/**
 * I1 and I2: nothing leased is below zero, and level, held and leased together never exceed the bucket. A limit that was
 * lowered may be below what is out already; then the level has nothing left.
 */
function assertBound(account: Account, limits: Limits): void {
  const { heldTokens, leased, tokens, scope } = account;
  if (leased.tokens < 0 || leased.requests < 0 || leased.slots < 0) {
    throw new Error(`limits: ${scope} has less than nothing leased out (I1)`);
  }
  if (limits.tokensPerMinute === undefined) return;
  const potentialUnits = tokens.levelUnits + (heldTokens + leased.tokens) * UNITS_PER_TOKEN;
  if (tokens.levelUnits > 0 && potentialUnits > limits.tokensPerMinute * UNITS_PER_TOKEN) {
    const potential = potentialUnits / UNITS_PER_TOKEN;
    throw new Error(`limits: ${scope} could spend ${potential} of ${limits.tokensPerMinute} tokens (I2)`);
  }
}
