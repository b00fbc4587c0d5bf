import {
  DIRECTORY_FRESH_MS,
  NEAR_MS,
  NEAR_SHARE,
  STATE_TRUSTED_MS,
  STATE_UNKNOWN_MS,
  UNHEARD_WAIT_MS,
  WAIT_MAX_MS,
} from "../bounds.ts";
import type { Model, Pool } from "../catalogue.ts";
import { distanceKm, type Position } from "./geo.ts";
import type { Band, MeasuredRtt, PoolState } from "./messages.ts";
import { type Rtt, rttOf } from "./rtt.ts";

/**
 * Orders the pools that serve a model by the time to first token that is predicted in each:
 *   predicted = round trip + wait + prefill
 * and shares requests out among those that are as good as equal. docs/geo-routing.md has the formulas with an example.
 */

/** One pool that a request may run in, or why it may not. Best first; `explain` shows the same list. */
export interface Candidate {
  /** What its replicas are asked for: the model, or one of its revisions. */
  readonly model: string;
  readonly pool: Pool;
  readonly concurrencyPerReplica: number;
  readonly distanceKm: number;
  readonly rtt: Rtt;
  /** Expected wait until a replica takes it. */
  readonly waitMs: number;
  /** Expected time from there to the first token, with nothing of the prompt cached. */
  readonly prefillMs: number;
  /** What the ranking goes by: time to first token as far as it differs between pools. */
  readonly predictedMs: number;
  /** Free permits as a share of capacity, 0 … 1; null when the pool has not been heard of. */
  readonly headroom: number | null;
  /** The probability that it is asked first. */
  readonly share: number;
  readonly state: PoolState | null;
  /** How old the pool's word is; null when it has not been heard of. */
  readonly stateAgeMs: number | null;
  readonly excluded: Exclusion | null;
  /** Excluded, and asked all the same because no other pool may be. */
  readonly lastResort: boolean;
}

/** `by_hand`: an operator has taken its region off this model's ladder, or an approval is missing. */
export const EXCLUSIONS = ["drained", "residency", "no_replica", "breaker_open", "by_hand"] as const;
export type Exclusion = (typeof EXCLUSIONS)[number];

/** A pool's own word to this isolate that it has no room, fresher than its state in the snapshot. */
export interface Turned {
  /** Epoch milliseconds until which it expects to have none. */
  readonly untilMs: number;
}

export interface RankAsk {
  readonly model: Model;
  readonly pools: readonly Pool[];
  readonly states: readonly PoolState[];
  readonly client: Position;
  /** Regions that the tenant's requests may run in; null: any. */
  readonly regions: readonly string[] | null;
  readonly band: Band;
  /** Estimated. */
  readonly promptTokens: number;
  readonly nowMs: number;
  /** By pool. */
  readonly rtts: ReadonlyMap<string, MeasuredRtt>;
  /** By pool. */
  readonly turned: ReadonlyMap<string, Turned>;
}

/** What a request takes, start to end: 350 output tokens, the median of a conversation trace, at 30 ms. */
const SERVICE_TIME_MS = 10_000;
/** Assumed prefill of a pool that has not told its own: 10,000 tokens a second, as of an 8B model on one large GPU. */
const ASSUMED_PREFILL = { baseMs: 0, msPerToken: 0.1 };

/**
 * Every pool that serves the model: those that may take the request by their share of such requests, then the rest by
 * predicted time, excluded ones last. A total order that does not depend on the order of what comes in.
 */
export function rank(ask: RankAsk): Candidate[] {
  // By name first: sums of fractions depend on their order, and shares must not depend on that of the input.
  const all = ask.pools.flatMap((pool) => candidate(pool, ask) ?? []).sort(byName);
  const lastResort = all.every(({ excluded }) => excluded !== null);
  const mayServe = (one: Candidate) =>
    one.excluded === null || (lastResort && one.excluded === "breaker_open");
  const shares = sharesOf(all.filter(mayServe), ask.nowMs, ask.turned);
  return all
    .map((one) => ({
      ...one,
      share: shares.get(one.pool.id) ?? 0,
      lastResort: one.excluded !== null && mayServe(one),
    }))
    .sort(
      (one, other) =>
        Number(!mayServe(one)) - Number(!mayServe(other)) ||
        other.share - one.share ||
        one.predictedMs - other.predictedMs ||
        byName(one, other),
    );
}

function byName(one: Candidate, other: Candidate): number {
  return one.pool.id < other.pool.id ? -1 : 1;
}

/**
 * The order in which one request asks the ranked pools: those with a share in weighted random order without replacement
 * (each gets the key −ln(1 − u) ÷ share, the least first: Efraimidis and Spirakis 2006), the rest as they are ranked.
 *
 * Chance is what prevents a herd. All isolates of a location see one snapshot, up to two seconds old: a choice made from
 * it alone would send them all to the same pool, then all to the other. `random` gives numbers in [0, 1).
 */
export function drawn(ranked: readonly Candidate[], random: () => number): Candidate[] {
  const shared = ranked.filter(({ share }) => share > 0);
  const keyed = shared.map((one) => ({ one, key: -Math.log(1 - random()) / one.share }));
  keyed.sort((a, b) => a.key - b.key);
  return [...keyed.map(({ one }) => one), ...ranked.filter(({ share }) => share === 0)];
}

/** Whether a request may be sent there. A pool that had no replica in the snapshot may have one: it comes last. */
export function mayAsk({ excluded, lastResort }: Candidate): boolean {
  return excluded === null || excluded === "no_replica" || lastResort;
}

function candidate(pool: Pool, ask: RankAsk): Candidate | null {
  const served = pool.models.find(({ model }) => model === ask.model.id);
  if (!served) return null;
  const state = ask.states.find((known) => known.pool === pool.id && known.model === ask.model.id) ?? null;
  const km = distanceKm(ask.client, pool.position);
  const rtt = rttOf(km, ask.rtts.get(pool.id), ask.nowMs);
  const waitMs = expectedWaitMs(state, ask, ask.turned.get(pool.id));
  const { baseMs, msPerToken } = state?.firstTokenMs ?? ASSUMED_PREFILL;
  const prefillMs = baseMs + msPerToken * ask.promptTokens;
  return {
    model: ask.model.id,
    pool,
    concurrencyPerReplica: served.concurrencyPerReplica,
    distanceKm: km,
    rtt,
    waitMs,
    prefillMs,
    predictedMs: rtt.usedMs + waitMs + prefillMs,
    headroom: state && state.capacity > 0 ? Math.max(0, 1 - state.inUse / state.capacity) : null,
    share: 0,
    state,
    stateAgeMs: state === null ? null : Math.max(0, ask.nowMs - state.atMs),
    excluded: exclusion(pool, state, ask.regions),
    lastResort: false,
  };
}

function exclusion(pool: Pool, state: PoolState | null, regions: readonly string[] | null): Exclusion | null {
  if (pool.drained) return "drained";
  if (regions !== null && !regions.includes(pool.region)) return "residency";
  if (state === null) return null;
  if (!state.replicas.some((replica) => replica.usable)) return "no_replica";
  return state.breaker === "open" ? "breaker_open" : null;
}

/**
 * What the pool told, and where its word is old, at least a part of `UNHEARD_WAIT_MS` that grows with its age. A pool
 * that was never heard of is the end of that scale.
 */
function expectedWaitMs(state: PoolState | null, { band, nowMs }: RankAsk, turned?: Turned): number {
  const toldMs = state === null ? 0 : (state.waitMs?.[band] ?? queueMs(state));
  const turnedMs = turned === undefined ? 0 : turned.untilMs - nowMs;
  return Math.min(WAIT_MAX_MS, Math.max(toldMs, turnedMs, doubtOf(state, nowMs) * UNHEARD_WAIT_MS));
}

/** For a pool that tells no wait: when full, it frees a place every service time over its capacity. */
function queueMs(state: PoolState): number {
  if (state.capacity === 0 || state.inUse < state.capacity) return 0;
  return Math.round(((state.waiting + 1) * SERVICE_TIME_MS) / state.capacity);
}

/** 0: its word is fresh; 1: it tells nothing, or there is none. */
function doubtOf(state: PoolState | null, nowMs: number): number {
  if (state === null) return 1;
  const overMs = nowMs - state.atMs - STATE_TRUSTED_MS;
  return Math.min(1, Math.max(0, overMs / (STATE_UNKNOWN_MS - STATE_TRUSTED_MS)));
}

/**
 * What part of the requests goes where, by pool: in proportion to
 *   places · nearness,   nearness = max(0, 1 − (predicted − best) ÷ reach),   reach = 2 · max(10 ms, best ÷ 10)
 * so that a pool behind the best by 10 ms or a tenth gets half of what it would get beside it, and one behind by twice
 * that gets nothing.
 *
 * No flapping, without any memory of what was chosen before: nearness is continuous, so a prediction that moves by d
 * moves no weight by more than d ÷ reach, and two pools that keep overtaking each other keep about equal shares. A hard
 * edge (all within 10 ms, weighted by room alone) would take a pool's whole share away at the edge; an exponential
 * has no edge, but sends a trickle across oceans.
 */
function sharesOf(
  open: readonly Candidate[],
  nowMs: number,
  turned: ReadonlyMap<string, Turned>,
): ReadonlyMap<string, number> {
  const bestMs = Math.min(...open.map(({ predictedMs }) => predictedMs));
  const reachMs = 2 * Math.max(NEAR_MS, NEAR_SHARE * bestMs);
  const weights = open.map(({ pool, state, predictedMs }) => {
    const nearness = Math.max(0, 1 - (predictedMs - bestMs) / reachMs);
    return { id: pool.id, weight: nearness * placesOf(state, nowMs, turned.has(pool.id)) };
  });
  const sum = weights.reduce((total, { weight }) => total + weight, 0);
  return new Map(weights.map(({ id, weight }) => [id, weight / sum]));
}

/**
 * Permits that are free, and those that will be before the next snapshot, as requests end. In places, not as a part of
 * capacity, or a pool of ten would get as many requests as one of a hundred. By free ones alone, near saturation a few
 * permits more would draw whole intervals of requests to one pool, and then to the other (test/unit/routing/herd.test.ts).
 * What a breaker that ramps up leaves of a pool counts. One that has nothing still counts for half a place, since one may
 * be free by now; one of which nothing is known, for one.
 */
function placesOf(state: PoolState | null, nowMs: number, turnedAway: boolean): number {
  const doubt = doubtOf(state, nowMs);
  const known = state === null || turnedAway ? 0 : comingPlaces(state);
  return (1 - doubt) * Math.max(known, LEAST_PLACES) + doubt * UNKNOWN_PLACES;
}

function comingPlaces({ capacity, inUse, breakerShare = 1 }: PoolState): number {
  const used = Math.min(inUse, capacity);
  return breakerShare * (capacity - used + (used * DIRECTORY_FRESH_MS) / SERVICE_TIME_MS);
}

const LEAST_PLACES = 0.5;
const UNKNOWN_PLACES = 1;
