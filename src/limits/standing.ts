import { DAY_MS, LEASE_TTL_MS } from "../bounds.ts";
import type { Limits } from "../catalogue.ts";
import { type Account, committed, scopeKind } from "./account.ts";
import { available, waitMs } from "./bucket.ts";
import { free, type LeaseAccount } from "./lease-holder.ts";
import type { Level, LimitState, Standing } from "./messages.ts";

/** The tightest level over all scopes of a request, by what remains. Accounts are at `nowMs`. */
export function standingOf(accounts: readonly Account[], limits: readonly Limits[]): Standing {
  return tightest(accounts, limits, (account, { tokensPerMinute, requestsPerMinute, tokensPerDay }) => ({
    tokens: tokensPerMinute
      ? {
          remaining: available(account.tokens),
          resetMs: waitMs(account.tokens, tokensPerMinute, tokensPerMinute),
        }
      : null,
    requests: requestsPerMinute
      ? {
          remaining: available(account.requests),
          resetMs: waitMs(account.requests, requestsPerMinute, requestsPerMinute),
        }
      : null,
    day: tokensPerDay ? { remaining: tokensPerDay - committed(account), resetMs: DAY_MS } : null,
  }));
}

/** The same where a lease is spent: what remains is what may be drawn here without asking the home. */
export function leaseStanding(leases: readonly LeaseAccount[], limits: readonly Limits[]): Standing {
  return tightest(leases, limits, (lease, { tokensPerMinute, requestsPerMinute }) => {
    const left = free(lease);
    return {
      tokens: tokensPerMinute ? { remaining: left.tokens, resetMs: LEASE_TTL_MS } : null,
      requests: requestsPerMinute ? { remaining: left.requests, resetMs: LEASE_TTL_MS } : null,
      // Only the home sees the day.
      day: null,
    };
  });
}

type Left = { readonly remaining: number; readonly resetMs: number } | null;

function tightest<P extends { readonly scope: string }>(
  purses: readonly P[],
  limits: readonly Limits[],
  look: (purse: P, limits: Limits) => Record<keyof Standing, Left>,
): Standing {
  const standing: { -readonly [Kind in keyof Standing]: Level | null } = {
    tokens: null,
    requests: null,
    day: null,
  };
  purses.forEach((purse, index) => {
    const own = limits[index]!;
    const limitOf = { tokens: own.tokensPerMinute, requests: own.requestsPerMinute, day: own.tokensPerDay };
    for (const [kind, left] of Object.entries(look(purse, own)) as [keyof Standing, Left][]) {
      if (left === null) continue;
      const known = standing[kind];
      const remaining = Math.max(0, left.remaining);
      if (known !== null && known.remaining <= remaining) continue;
      standing[kind] = {
        scope: scopeKind(purse.scope),
        limit: limitOf[kind]!,
        remaining,
        resetMs: left.resetMs,
      };
    }
  });
  return standing;
}

/** One account's limits for the admin API. */
export function limitState(account: Account, limits: Limits): LimitState {
  const { tokensPerMinute, tokensPerDay, requestsPerMinute, concurrentRequests } = limits;
  return {
    scope: account.scope,
    tokensPerMinute: tokensPerMinute
      ? { limit: tokensPerMinute, available: available(account.tokens) }
      : null,
    tokensPerDay: tokensPerDay ? { limit: tokensPerDay, used: committed(account) } : null,
    requestsPerMinute: requestsPerMinute
      ? { limit: requestsPerMinute, available: available(account.requests) }
      : null,
    concurrentRequests: concurrentRequests
      ? { limit: concurrentRequests, running: account.open + account.leased.slots }
      : null,
  };
}
