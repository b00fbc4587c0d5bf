import { REPORT_INTERVAL_MS } from "../bounds.ts";
import type { Limits } from "../catalogue.ts";
import { type Dimension, type Failure, type LimitScope, told } from "../errors.ts";
import { RECALL_WAIT_MS } from "./bounds.ts";
import { accrue, available, type Bucket, fullBucket, take, waitMs } from "./bucket.ts";
import { NONE, type Pace, type Quantity } from "./lease.ts";
import { asideTokens, type Elsewhere, learnt, NO_PACE, NOTHING_ELSEWHERE, repaced } from "./pace.ts";
import { type DayWindow, emptyWindow, roll, slotAt, spend, spentTokens, windowWaitMs } from "./window.ts";

/**
 * All that one scope (a tenant, a key, an end user) has used and holds. Limits come from outside on every call,
 * since operators change them; where a limit is absent its counter simply follows along.
 */
export interface Account {
  /** `tenant`, `key:<id>` or `user:<hash>`. */
  readonly scope: string;
  readonly tokens: Bucket;
  readonly requests: Bucket;
  readonly day: DayWindow;
  /** Tokens held by open reservations and blocks. */
  readonly heldTokens: number;
  /** Requests of which nothing was heard yet: they may still be given back, so they do not refill. */
  readonly heldRequests: number;
  /** Requests that run, and places that blocks hold. */
  readonly open: number;
  readonly pace: Pace;
  /** What leases hold of it elsewhere: granted, and neither settled nor returned. */
  readonly leased: Quantity;
  /** What those leases use a second. */
  readonly elsewhere: Elsewhere;
}

/** What admission asks of each of its accounts at once. */
export interface Ask {
  /** To hold now. */
  readonly tokens: number;
  /** The least that makes sense: the prompt. Less than this in the whole bucket is a refusal for good. */
  readonly leastTokens: number;
  /** Leased to the very location that asks: calling those back brings it nothing. */
  readonly ownLeasedTokens?: number;
}

export function newAccount(scope: string, limits: Limits, nowMs: number): Account {
  return {
    scope,
    tokens: fullBucket(limits.tokensPerMinute ?? 0, nowMs),
    requests: fullBucket(limits.requestsPerMinute ?? 0, nowMs),
    day: emptyWindow(nowMs),
    heldTokens: 0,
    heldRequests: 0,
    open: 0,
    pace: NO_PACE,
    leased: NONE,
    elsewhere: NOTHING_ELSEWHERE,
  };
}

/** The account at `nowMs`. Called before every decision and every transition. */
export function settleTime(account: Account, limits: Limits, nowMs: number): Account {
  return {
    ...account,
    tokens: limits.tokensPerMinute
      ? accrue(account.tokens, limits.tokensPerMinute, account.heldTokens + account.leased.tokens, nowMs)
      : fullBucket(0, nowMs),
    requests: limits.requestsPerMinute
      ? accrue(
          account.requests,
          limits.requestsPerMinute,
          account.heldRequests + account.leased.requests,
          nowMs,
        )
      : fullBucket(0, nowMs),
    day: roll(account.day, nowMs),
  };
}

/**
 * The account when an operator changes its limits. Refill up to now is at the old ones: time is settled lazily, so without
 * this a raise would refill for time before it.
 */
export function relimit(account: Account, before: Limits, after: Limits, nowMs: number): Account {
  return settleTime(settleTime(account, before, nowMs), after, nowMs);
}

/** The most that a new reservation could ever hold: the smallest of the scope's whole token limits. */
export function wholeBudget(limits: Limits): number {
  return Math.min(limits.tokensPerMinute ?? Infinity, limits.tokensPerDay ?? Infinity);
}

/** Why this account refuses, or null when it admits. The account is at `nowMs` (settleTime). */
export function refusal(account: Account, limits: Limits, ask: Ask, nowMs: number): Failure | null {
  const scope = scopeKind(account.scope);
  const { tokensPerMinute, tokensPerDay, requestsPerMinute, concurrentRequests } = limits;
  for (const [dimension, limit] of [
    ["tokens_per_minute", tokensPerMinute],
    ["tokens_per_day", tokensPerDay],
  ] as const) {
    if (limit !== undefined && ask.leastTokens > limit) {
      return { tag: "request_too_large", scope, dimension, limit, requested: ask.leastTokens };
    }
  }
  const refusals: Failure[] = [];
  const limited = (
    dimension: Dimension,
    limit: number,
    used: number,
    requested: number,
    retryAfterMs: number,
  ) =>
    refusals.push({
      tag: "rate_limited",
      ...{ scope, dimension, limit, used, requested, retryAfterMs },
    });

  const places = account.open + account.leased.slots;
  if (concurrentRequests !== undefined && places >= concurrentRequests) {
    limited("concurrent_requests", concurrentRequests, places, 1, 1_000);
  }
  if (requestsPerMinute !== undefined && available(account.requests) < 1) {
    const used = requestsPerMinute - available(account.requests);
    const refillMs = waitMs(account.requests, requestsPerMinute, 1);
    limited(
      "requests_per_minute",
      requestsPerMinute,
      used,
      1,
      refillMs + requestHeardMs(account, requestsPerMinute),
    );
  }
  const held = account.heldTokens + account.leased.tokens;
  const spare = available(account.tokens) - asideTokens(account, tokensPerMinute ?? Infinity, nowMs);
  if (tokensPerMinute !== undefined && spare < ask.tokens) {
    const used = tokensPerMinute - Math.max(spare, 0);
    limited(
      "tokens_per_minute",
      tokensPerMinute,
      used,
      ask.tokens,
      tokenWaitMs(account, tokensPerMinute, ask),
    );
  }
  const used = committed(account);
  if (tokensPerDay !== undefined && used + ask.tokens > tokensPerDay) {
    const retryAfterMs = windowWaitMs(account.day, held, tokensPerDay, ask.tokens, nowMs);
    limited("tokens_per_day", tokensPerDay, used, ask.tokens, retryAfterMs);
  }
  return refusals.length === 0 ? null : refusals.reduce(latest);
}

/** Requests of which nothing was heard do not refill: until then where they leave no room for one more. */
function requestHeardMs({ heldRequests, leased }: Account, perMinute: number): number {
  return heldRequests + leased.requests + 1 > perMinute ? REPORT_INTERVAL_MS : 0;
}

/** Until the account may have enough tokens for what was refused. */
function tokenWaitMs({ heldTokens, leased, tokens }: Account, perMinute: number, ask: Ask): number {
  const refillMs = waitMs(tokens, perMinute, ask.tokens);
  // Other locations are asked to give back what they hold and do not use.
  const elsewhere = leased.tokens - (ask.ownLeasedTokens ?? 0);
  if (refillMs > RECALL_WAIT_MS && available(tokens) + elsewhere >= ask.tokens) return RECALL_WAIT_MS;
  // What is held does not refill: the refill that this waits for begins only after the next report settles it. Nor does
  // it show sooner than in reports that streams have ended.
  const settles = refillMs === 0 || heldTokens + leased.tokens + ask.tokens > perMinute;
  return refillMs + (settles ? REPORT_INTERVAL_MS : 0);
}

/** Of two refusals the one that lasts longer: a client that waits for it passes both. */
export function latest(one: Failure, other: Failure): Failure {
  const until = (failure: Failure) =>
    failure.tag === "request_too_large" ? Infinity : (told(failure).retryAfterMs ?? 0);
  return until(other) > until(one) ? other : one;
}

/** Of a day's tokens: spent, held here, and leased out. */
export function committed(account: Account): number {
  return spentTokens(account.day) + account.heldTokens + account.leased.tokens;
}

/** Takes requests and holds their tokens. Only after `refusal` said null for every account, or within its `room`. */
export function admit(account: Account, tokens: number, requests: number): Account {
  return {
    ...account,
    tokens: take(account.tokens, tokens),
    requests: take(account.requests, requests),
    heldTokens: account.heldTokens + tokens,
    heldRequests: account.heldRequests + requests,
    open: account.open + requests,
  };
}

/** What could be admitted now; infinite where there is no limit, below zero in debt. */
export function room(account: Account, limits: Limits, nowMs: number): Quantity {
  const { tokensPerMinute, tokensPerDay, requestsPerMinute, concurrentRequests } = limits;
  return {
    tokens: Math.min(
      tokensPerMinute === undefined
        ? Infinity
        : available(account.tokens) - asideTokens(account, tokensPerMinute, nowMs),
      tokensPerDay === undefined ? Infinity : tokensPerDay - committed(account),
    ),
    requests: requestsPerMinute === undefined ? Infinity : available(account.requests),
    slots:
      concurrentRequests === undefined ? Infinity : concurrentRequests - account.open - account.leased.slots,
  };
}

/** Tokens that an open reservation may hold on top, at most `wanted`. */
export function extendable(account: Account, limits: Limits, wanted: number): number {
  const byMinute = limits.tokensPerMinute === undefined ? wanted : available(account.tokens);
  const byDay = limits.tokensPerDay === undefined ? wanted : limits.tokensPerDay - committed(account);
  return Math.max(0, Math.min(wanted, byMinute, byDay));
}

export function hold(account: Account, tokens: number): Account {
  return { ...account, tokens: take(account.tokens, tokens), heldTokens: account.heldTokens + tokens };
}

/** `fromHeld` of the used tokens were held; the rest was not and is taken now, into debt if need be. */
export function settle(account: Account, usedTokens: number, fromHeld: number): Account {
  assertHeld(account, fromHeld);
  return {
    ...account,
    tokens: take(account.tokens, usedTokens - fromHeld),
    heldTokens: account.heldTokens - fromHeld,
    day: spend(account.day, usedTokens),
  };
}

/** Gives back what was held and not used. */
export function release(account: Account, tokens: number): Account {
  assertHeld(account, tokens);
  return { ...account, tokens: take(account.tokens, -tokens), heldTokens: account.heldTokens - tokens };
}

/** Requests that no longer run. */
export function leave(account: Account, places: number): Account {
  if (account.open < places)
    throw new Error(`limits: ${account.scope} has no ${places} open requests to end`);
  return { ...account, open: account.open - places };
}

/** A stream goes at another pace. */
export function repace(account: Account, before: number, after: number): Account {
  return before === after ? account : { ...account, pace: repaced(account.pace, before, after) };
}

/** A request has ended that used so many tokens. */
export function learn(account: Account, usedTokens: number): Account {
  return { ...account, pace: learnt(account.pace, usedTokens) };
}

/** They run: from now on they refill. */
export function spendRequests(account: Account, requests: number): Account {
  if (account.heldRequests < requests)
    throw new Error(`limits: ${account.scope} holds no ${requests} requests`);
  return { ...account, heldRequests: account.heldRequests - requests };
}

/** Nothing ran: the requests themselves are given back as well. */
export function returnRequests(account: Account, requests: number): Account {
  return { ...spendRequests(account, requests), requests: take(account.requests, -requests) };
}

/** True when the account says nothing that a new one would not: its row can go (made-up user ids cost nothing). */
export function isFresh(account: Account, limits: Limits, nowMs: number): boolean {
  const fresh = newAccount(account.scope, limits, nowMs);
  return (
    account.open === 0 &&
    account.heldTokens === 0 &&
    account.heldRequests === 0 &&
    account.leased.tokens + account.leased.requests + account.leased.slots === 0 &&
    account.tokens.levelUnits >= fresh.tokens.levelUnits &&
    account.requests.levelUnits >= fresh.requests.levelUnits &&
    spentTokens(account.day) === 0 &&
    account.day.slot <= slotAt(nowMs)
  );
}

export function scopeKind(scope: string): LimitScope {
  if (scope.startsWith("key:")) return "key";
  if (scope.startsWith("user:")) return "user";
  return "tenant";
}

function assertHeld(account: Account, tokens: number): void {
  if (tokens < 0 || tokens > account.heldTokens) {
    throw new Error(`limits: ${account.scope} holds ${account.heldTokens} tokens, not ${tokens} (I1)`);
  }
}
