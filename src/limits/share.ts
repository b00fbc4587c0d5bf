import { LEASE_TTL_MS } from "../bounds.ts";
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
  /** When the home last had to refuse for want of budget. */
  readonly homeShortMs: number;
}

/** The share of one holder at its renewal. */
export function shareOf(parties: Parties & { readonly holder: string }, nowMs: number): Share {
  const { account, leases, holder, homeShortMs } = parties;
  const others = leases.filter((lease) => lease.holder !== holder && isActive(lease, nowMs));
  const othersShort = isRecent(homeShortMs, nowMs) || others.some(({ shortTokens }) => shortTokens > 0);
  if (!othersShort) return { tokens: Infinity, requests: Infinity, slots: Infinity, othersShort };
  const count = others.length + 2;
  return {
    tokens: Math.floor(spendable(account) / count),
    requests: Infinity,
    slots: Math.max(1, Math.floor((account.open + account.leased.slots) / count)),
    othersShort,
  };
}

/** Holders that have more than their part while somebody is short. */
export function recalls(parties: Parties, nowMs: number): { holder: string; keepTokens: number }[] {
  const { account, leases, homeShortMs } = parties;
  const active = leases.filter((lease) => isActive(lease, nowMs));
  const short = active.filter(({ shortTokens }) => shortTokens > 0);
  if (!isRecent(homeShortMs, nowMs) && short.length === 0) return [];
  const keepTokens = Math.floor(spendable(account) / (active.length + 1));
  return active
    .filter((lease) => outstanding(lease).tokens > keepTokens && lease.shortTokens === 0)
    .map(({ holder }) => ({ holder, keepTokens }));
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
