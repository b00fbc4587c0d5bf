import { LEASE_TTL_MS } from "../bounds.ts";
import { PACE_AHEAD_MAX_MS } from "./bounds.ts";
import type { Pace, Renewal } from "./lease.ts";
import type { Lease } from "./lease-home.ts";
import { type Elsewhere, NO_PACE, together } from "./pace.ts";

/**
 * How a home divides its rate among all who admit streams that it has to feed: its own objects and every lease holder. The
 * parts are gauges. One that is stale, lost or out of order admits a stream too many or too few; what may be spent is bounded
 * by leases alone.
 */
export interface Allotment {
  /** What the holder may count on, in weighted tokens; null where the account has no rate. */
  readonly ratePerMinute: number | null;
  /** What a request uses by all that is known; 0: nothing is. */
  readonly meanTokens: number;
  /** What the other holders use. */
  readonly others: Elsewhere;
}

/** No rate to divide, and nobody to divide it with. */
export const UNDIVIDED: Allotment = {
  ratePerMinute: null,
  meanTokens: 0,
  others: { pace: NO_PACE, allottedPerSecond: 0, atMs: 0 },
};

/** What of a renewal has a part in how much its holder gets. */
export type Asking = Pick<Renewal, "holder" | "sequence" | "pace" | "heldTokens" | "want">;

export interface Dividing {
  readonly ratePerMinute: number | undefined;
  /** Of the home's own streams. */
  readonly homePace: Pace;
  /** Requests that the home's own location asks for in a lease's time to live: its claim on what nobody uses yet. */
  readonly homeRequests: number;
  readonly leases: readonly Lease[];
  readonly message: Asking;
}

/**
 * The part of one holder at its renewal. Streams that run are fed first, each at its pace or, where they use more than the
 * rate together, at an equal fraction of it. What is left over goes by the requests that each place asks for.
 */
export function allot(dividing: Dividing, nowMs: number): Allotment {
  const { homePace, homeRequests, leases, message, ratePerMinute } = dividing;
  const known = leases.find(({ holder }) => holder === message.holder);
  const others = leases.filter(({ holder }) => holder !== message.holder);
  // Of news that an older message brings, the lease has newer.
  const own = known && message.sequence <= known.sequence ? known : heard(message);
  const elsewhere = elsewhereOf(others, nowMs);
  const all = together([homePace, elsewhere.pace, own.pace]);
  const whole = { meanTokens: all.meanTokens, others: elsewhere };
  if (ratePerMinute === undefined) return { ...whole, ratePerMinute: null };

  const perSecond = ratePerMinute / 60;
  const ownPerSecond = own.pace.tokensPerSecond;
  if (all.tokensPerSecond >= perSecond) {
    const part = (ratePerMinute * ownPerSecond) / all.tokensPerSecond;
    return { ...whole, ratePerMinute: Math.floor(part) };
  }
  const othersRequests = others
    .filter((lease) => isLive(lease, nowMs))
    .reduce((sum, { wantedRequests }) => sum + wantedRequests, 0);
  const wanted = own.wantedRequests + homeRequests + othersRequests;
  const fraction = wanted === 0 ? 0 : own.wantedRequests / wanted;
  const leftPerSecond = perSecond - all.tokensPerSecond;
  return { ...whole, ratePerMinute: Math.floor((ownPerSecond + leftPerSecond * fraction) * 60) };
}

/** What a renewal says of its holder's streams; nothing in one of a version before. */
export function heard({
  heldTokens,
  pace,
  want,
}: Asking): Pick<Lease, "heldTokens" | "pace" | "wantedRequests"> {
  return { heldTokens: heldTokens ?? 0, pace: pace ?? NO_PACE, wantedRequests: want.requests };
}

/** What all of these leases use together. */
export function elsewhereOf(leases: readonly Lease[], nowMs: number): Elsewhere {
  const allotted = leases.map((lease) => allottedPerSecond(lease, nowMs));
  return {
    pace: together(leases.map((lease) => paceOf(lease, nowMs))),
    allottedPerSecond: allotted.reduce((sum, one) => sum + one, 0),
    atMs: nowMs,
  };
}

/** The same with one more. */
export function besides(others: Elsewhere, lease: Lease, nowMs: number): Elsewhere {
  const one = elsewhereOf([lease], nowMs);
  return {
    pace: together([others.pace, one.pace]),
    allottedPerSecond: others.allottedPerSecond + one.allottedPerSecond,
    atMs: nowMs,
  };
}

/** A holder that lives may go up to what it was told; streams of one that fell silent end in the time that streams take. */
function allottedPerSecond(lease: Lease, nowMs: number): number {
  const { tokensPerSecond } = paceOf(lease, nowMs);
  return isLive(lease, nowMs) ? Math.max(tokensPerSecond, (lease.ratePerMinute ?? 0) / 60) : tokensPerSecond;
}

function paceOf({ contactMs, pace }: Lease, nowMs: number): Pace {
  return nowMs - contactMs < PACE_AHEAD_MAX_MS ? pace : NO_PACE;
}

function isLive({ contactMs, state }: Lease, nowMs: number): boolean {
  return state === "open" && nowMs - contactMs < LEASE_TTL_MS;
}
