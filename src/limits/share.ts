import { FIRST_STEP_TOKENS, LEASE_TTL_MS } from "../bounds.ts";
import type { Limits } from "../catalogue.ts";
import type { Account } from "./account.ts";
import { type Asking, allot, heard } from "./allot.ts";
import { available } from "./bucket.ts";
import { type Lease, outstanding, type Share } from "./lease-home.ts";
import { nextTokens } from "./pace.ts";

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

/** A renewal that asks for a share. */
export interface Sharing extends Parties {
  readonly message: Asking;
  /** Requests that the home's own location asks for in a lease's time to live. */
  readonly homeRequests: number;
}

/** The share of one holder at its renewal. */
export function shareOf(sharing: Sharing, nowMs: number): Share {
  const { account, homeRequests, homeShortMs, leases, limits, message } = sharing;
  const { holder } = message;
  const ratePerMinute = limits?.tokensPerMinute;
  const allotment = allot({ ratePerMinute, homePace: account.pace, homeRequests, leases, message }, nowMs);
  const others = leases.filter((lease) => lease.holder !== holder && isActive(lease, nowMs));
  const othersShort = isRecent(homeShortMs, nowMs) || others.some(isShort) || isOver(account, limits);
  if (!othersShort) return { tokens: Infinity, requests: Infinity, slots: Infinity, othersShort, allotment };
  const count = others.length + 2;
  return {
    tokens: partOf(account, heard(message), others, count),
    requests: Infinity,
    slots: Math.max(1, Math.floor((limits?.concurrentRequests ?? Infinity) / count)),
    othersShort,
    allotment,
  };
}

/** Holders that have more than their part while somebody is short. */
export function recalls(parties: Parties, nowMs: number): { holder: string; keepTokens: number }[] {
  const { account, leases, homeShortMs } = parties;
  const active = leases.filter((lease) => isActive(lease, nowMs));
  const homeShort = isRecent(homeShortMs, nowMs);
  return active
    .map((lease) => {
      const others = active.filter((other) => other !== lease);
      // As for its share: what counts is that another one is short, whether the holder would like to have more as well or not.
      const othersShort = homeShort || others.some(isShort);
      const keepTokens = partOf(account, lease, others, active.length + 1);
      return {
        holder: lease.holder,
        keepTokens,
        over: othersShort && outstanding(lease).tokens > keepTokens,
      };
    })
    .filter(({ over }) => over)
    .map(({ holder, keepTokens }) => ({ holder, keepTokens }));
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

/**
 * What running streams will take first, of the rest an equal part. One that admits no request would only lie idle, so it is
 * none at all and the home decides.
 */
function partOf(account: Account, own: Running, others: readonly Lease[], count: number): number {
  const ownTokens = leaseNeed(own);
  const othersTokens = others.reduce((sum, other) => sum + leaseNeed(other), 0);
  const allTokens = nextTokens(account.pace.tokensPerSecond) + ownTokens + othersTokens;
  const left = spendable(account) - allTokens;
  const part = left >= 0 ? ownTokens + left / count : (ownTokens * spendable(account)) / allTokens;
  return part < FIRST_STEP_TOKENS ? 0 : Math.floor(part);
}

type Running = Pick<Lease, "heldTokens" | "pace">;

/** What streams on a lease hold, and what they will ask for until it is renewed. */
function leaseNeed({ heldTokens, pace }: Running): number {
  return heldTokens + nextTokens(pace.tokensPerSecond);
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
