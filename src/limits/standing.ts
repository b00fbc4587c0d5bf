import { LEASE_TTL_MS } from "../bounds.ts";
import type { Limits } from "../catalogue.ts";
import { type Account, committed, scopeKind } from "./account.ts";
import { available, waitMs } from "./bucket.ts";
import { free, type LeaseAccount } from "./lease-holder.ts";
import type { Level, LimitState, Standing } from "./messages.ts";

/** The tightest level over all scopes of a request, by what remains. Accounts are at `nowMs`. */
export function standingOf(accounts: readonly Account[], limits: readonly Limits[]): Standing {
  let tokens: Level | null = null;
  let requests: Level | null = null;
  accounts.forEach((account, index) => {
    const { tokensPerMinute, requestsPerMinute } = limits[index]!;
    const scope = scopeKind(account.scope);
    if (tokensPerMinute !== undefined) {
      tokens = tighter(tokens, {
        scope,
        limit: tokensPerMinute,
        remaining: Math.max(0, available(account.tokens)),
        resetMs: waitMs(account.tokens, tokensPerMinute, tokensPerMinute),
      });
    }
    if (requestsPerMinute !== undefined) {
      requests = tighter(requests, {
        scope,
        limit: requestsPerMinute,
        remaining: Math.max(0, available(account.requests)),
        resetMs: waitMs(account.requests, requestsPerMinute, requestsPerMinute),
      });
    }
  });
  return { tokens, requests };
}

/** The same where a lease is spent: what remains is what may be drawn here without asking the home. */
export function leaseStanding(leases: readonly LeaseAccount[], limits: readonly Limits[]): Standing {
  let tokens: Level | null = null;
  let requests: Level | null = null;
  leases.forEach((lease, index) => {
    const { tokensPerMinute, requestsPerMinute } = limits[index]!;
    const scope = scopeKind(lease.scope);
    const left = free(lease);
    const level = (limit: number, remaining: number): Level => {
      return { scope, limit, remaining: Math.max(0, remaining), resetMs: LEASE_TTL_MS };
    };
    if (tokensPerMinute !== undefined) tokens = tighter(tokens, level(tokensPerMinute, left.tokens));
    if (requestsPerMinute !== undefined)
      requests = tighter(requests, level(requestsPerMinute, left.requests));
  });
  return { tokens, requests };
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

function tighter(one: Level | null, other: Level): Level {
  return one === null || other.remaining < one.remaining ? other : one;
}
