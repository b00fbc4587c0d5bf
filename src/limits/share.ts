import { FIRST_STEP_TOKENS, LEASE_TTL_MS } from "../bounds.ts";
import type { Limits } from "../catalogue.ts";
import type { Account } from "./account.ts";
import { available } from "./bucket.ts";
import { type Lease, outstanding, type Share } from "./lease-home.ts";

/**
 * Who may have how much of an account that several locations spend. One that is alone may have all of it. As soon as
 * another asks for more than there is, everybody is held to an equal part, and who has more gives the rest back.
 */
export interface Parties {
  readonly account: Account;
  readonly leases: readonly Lease[];
  /** Of the account's scope; without them, places among concurrent requests are not shared out. */
  readonly limits?: Limits;
  /** When the home last had to refuse for want of budget, by `isHomeShort`. */
  readonly homeShortMs: number;
}

/** The share of one holder at its renewal. */
export function shareOf(parties: Parties & { readonly holder: string }, nowMs: number): Share {
  const { account, leases, limits, holder, homeShortMs } = parties;
  const others = leases.filter((lease) => lease.holder !== holder && isActive(lease, nowMs));
  const othersShort = isRecent(homeShortMs, nowMs) || others.some(isShort) || isOver(account, limits);
  if (!othersShort) return { tokens: Infinity, requests: Infinity, slots: Infinity, othersShort };
  const count = others.length + 2;
  return {
    tokens: partOf(account, count),
    requests: Infinity,
    slots: Math.max(1, Math.floor((limits?.concurrentRequests ?? Infinity) / count)),
    othersShort,
  };
}

/** Holders that have more than their part while somebody is short. */
export function recalls(parties: Parties, nowMs: number): { holder: string; keepTokens: number }[] {
  const { account, leases, homeShortMs } = parties;
  const active = leases.filter((lease) => isActive(lease, nowMs));
  const homeShort = isRecent(homeShortMs, nowMs);
  // As for its share: what counts is that another one is short, whether the holder would like to have more as well or not.
  const othersShort = (lease: Lease) =>
    homeShort || active.some((other) => other !== lease && isShort(other));
  const keepTokens = partOf(account, active.length + 1);
  return active
    .filter((lease) => outstanding(lease).tokens > keepTokens && othersShort(lease))
    .map(({ holder }) => ({ holder, keepTokens }));
}

/**
 * Whether a refusal at home says that the home is short. One for a location that has a lease does not: it is that holder
 * that is short, which its next renewal says. Counting it would halve a holder's share against itself.
 */
export function isHomeShort(leases: readonly Lease[], from: string, nowMs: number): boolean {
  return !leases.some((lease) => lease.holder === from && isActive(lease, nowMs));
}

function isShort({ shortTokens, shortSlots }: Lease): boolean {
  return shortTokens > 0 || shortSlots > 0;
}

/** More places are out than a limit that was lowered has; tokens are used up in time, places would come back to their lease. */
function isOver({ leased, open }: Account, limits: Limits | undefined): boolean {
  return open + leased.slots > (limits?.concurrentRequests ?? Infinity);
}

/** An equal part. One that admits no request would only lie idle, so it is none at all and the home decides. */
function partOf(account: Account, count: number): number {
  const part = Math.floor(spendable(account) / count);
  return part < FIRST_STEP_TOKENS ? 0 : part;
}

function spendable(account: Account): number {
  return Math.max(0, available(account.tokens)) + account.leased.tokens;
}

function isActive(lease: Lease, nowMs: number): boolean {
  return lease.state === "open" && isRecent(lease.contactMs, nowMs);
}

function isRecent(atMs: number, nowMs: number): boolean {
  return nowMs - atMs < LEASE_TTL_MS;
}
