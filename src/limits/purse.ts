import type { Limits } from "../catalogue.ts";
import type { Failure } from "../errors.ts";
import * as account from "./account.ts";
import type { Quantity } from "./lease.ts";
import * as lease from "./lease-holder.ts";
import type { Standing } from "./messages.ts";
import { softAdmit, softRefusal, softTime } from "./soft.ts";
import { leaseStanding, standingOf } from "./standing.ts";

/**
 * What a reservation draws on. At home it is an account that refills; elsewhere a lease that does not. Reservations
 * are the same in both places: one ledger (ledger.ts) over either purse.
 */
export interface Purse<P> {
  /** As it is when nothing was ever drawn. */
  fresh(scope: string, limits: Limits, nowMs: number): P;
  /** Brought to `nowMs`: refill at home, clock checks on a lease. Comes before any other operation. */
  at(purse: P, limits: Limits, nowMs: number): P;
  refusal(purse: P, limits: Limits, ask: account.Ask, nowMs: number): Failure | null;
  /** Takes requests with their places, and holds tokens for them all together. */
  admit(purse: P, tokens: number, requests: number): P;
  /** What could be admitted at most now, were it asked for one by one. */
  room(purse: P, limits: Limits, nowMs: number): Quantity;
  /** For how long what is set aside now may be admitted from, in milliseconds; may be infinite. */
  liveMs(purse: P, nowMs: number): number;
  extendable(purse: P, limits: Limits, wanted: number, nowMs: number): number;
  hold(purse: P, tokens: number): P;
  settle(purse: P, usedTokens: number, fromHeld: number): P;
  release(purse: P, tokens: number): P;
  /** Frees places among concurrent requests. */
  leave(purse: P, places: number): P;
  /** Requests that were held begin to count against the rate, as they run; or are given back, as nothing ran. */
  endRequest(purse: P, ran: boolean, requests: number): P;
  /** One of its streams uses so many tokens a second now, and did before. */
  repace(purse: P, before: number, after: number): P;
  /** A request has used so many tokens in all. */
  learn(purse: P, usedTokens: number): P;
  /** Requests that run. */
  open(purse: P): number;
  /** Where the scopes of a request stand, for its headers. */
  standing(purses: readonly P[], limits: readonly Limits[]): Standing;
}

export const HOME_PURSE: Purse<account.Account> = {
  fresh: account.newAccount,
  at: account.settleTime,
  refusal: account.refusal,
  admit: account.admit,
  extendable: (purse, limits, wanted) => account.extendable(purse, limits, wanted),
  hold: account.hold,
  settle: account.settle,
  release: account.release,
  leave: account.leave,
  room: account.room,
  liveMs: () => Infinity,
  endRequest: (purse, ran, requests) =>
    ran ? account.spendRequests(purse, requests) : account.returnRequests(purse, requests),
  repace: account.repace,
  learn: account.learn,
  open: (purse) => purse.open + purse.leased.slots,
  standing: standingOf,
};

/** A lease whose home is out of reach, for a tenant that allows some tokens on trust. */
export function softPurse(allowanceTokens: number): Purse<lease.LeaseAccount> {
  return {
    ...LEASE_PURSE,
    at: (purse, _limits, nowMs) => softTime(purse, nowMs),
    refusal: (purse, _limits, ask) => softRefusal(purse, ask, allowanceTokens),
    admit: softAdmit,
  };
}

export const LEASE_PURSE: Purse<lease.LeaseAccount> = {
  fresh: (scope, _limits, nowMs) => lease.newLease(scope, nowMs),
  at: (purse, _limits, nowMs) => lease.leaseTime(purse, nowMs),
  refusal: (purse, _limits, ask, nowMs) => lease.leaseRefusal(purse, ask, nowMs),
  admit: lease.leaseAdmit,
  extendable: (purse, _limits, wanted, nowMs) => lease.leaseExtendable(purse, wanted, nowMs),
  hold: lease.leaseHold,
  settle: lease.leaseSettle,
  release: lease.leaseRelease,
  leave: lease.leaseLeave,
  room: (purse, _limits, nowMs) => lease.leaseRoom(purse, nowMs),
  liveMs: lease.leaseLiveMs,
  endRequest: (purse, ran, requests) =>
    ran ? lease.leaseSpendRequests(purse, requests) : lease.leaseReturnRequests(purse, requests),
  repace: lease.leaseRepace,
  learn: lease.leaseLearn,
  open: (purse) => purse.open,
  standing: leaseStanding,
};
