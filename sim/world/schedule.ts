import { EVEN_WEIGHTS, type Limits, type OverdraftPolicy, type Weights } from "../../src/catalogue.ts";
import { BLOCK_EARNING_PER_SECOND, BLOCK_LEAST_REQUESTS, BLOCK_SHARE } from "../../src/limits/bounds.ts";
import type { BlockSetting } from "./isolate.ts";
import { type Random, randomFrom } from "./random.ts";

/** One run of the world: everything follows from these numbers. */
export interface Schedule {
  readonly seed: number;
  /** A seed for each action, so that leaving one out changes no other. */
  readonly actions: readonly number[];
}

export interface Setting {
  /** Locations besides the home. */
  readonly holders: number;
  /** Objects that share the requests of each location. */
  readonly shards: number;
  readonly limits: Limits;
  readonly keyLimits: Limits;
  /** With some, a third of all requests each are for nobody in particular and for two end users. */
  readonly endUserLimits: Limits;
  readonly overdraft: OverdraftPolicy;
  readonly softAllowanceTokens: number;
  readonly weights: Weights;
  /** When and how much isolates are granted in advance; null: they ask for each request. */
  readonly blocks: BlockSetting | null;
  /** Of all streams, this share loses its engine in any one second and is carried on by another. */
  readonly breakPerMille: number;
  /** Of all streams, this share is late, and a second attempt is made at it. */
  readonly racePerMille: number;
  readonly net: NetSetting;
  /** By location, the home first, then by location again for each further shard. */
  readonly driftPerMille: readonly number[];
  readonly offsetMs: readonly number[];
  /** Objects crash by themselves this often, half of the times before a write and half after it. */
  readonly crashPerMille: number;
}

export interface NetSetting {
  readonly lossPerMille: number;
  readonly duplicatePerMille: number;
  /** Of all messages this share is held up by as much as `delayMaxMs`. */
  readonly slowPerMille: number;
  readonly delayMaxMs: number;
}

export type Action = { readonly afterMs: number; readonly region: number } & (
  | ({ readonly kind: "load" } & Load)
  | { readonly kind: "cut"; readonly link: "home" | "gate"; readonly forMs: number; readonly holds: boolean }
  | { readonly kind: "crash"; readonly when: "before" | "after" }
  | { readonly kind: "evict" | "leave" | "gate_dies" | "isolate_dies" }
  | { readonly kind: "twin"; readonly forMs: number }
  | { readonly kind: "step"; readonly byMs: number; readonly of: "object" | "isolate" }
  | { readonly kind: "limits"; readonly perMille: number }
  | ({ readonly kind: "siege" } & Siege)
);

/** A holder with a lease is cut off, and asked again when its home has written the lease off. */
export interface Siege {
  readonly againMs: number;
  /** Messages arrive after the cut instead of being lost. */
  readonly holds: boolean;
  /** The holder hangs as well, so it does not even notice that its lease ends. */
  readonly freezes: boolean;
  readonly first: Load;
  readonly second: Load;
}

export interface Load {
  readonly requests: number;
  readonly gapMs: number;
  readonly promptTokens: number;
  /** What the prompt really has, above (or below) the estimate. */
  readonly missedTokens: number;
  readonly outputTokens: number;
  readonly tokensPerSecond: number;
}

/**
 * One step of a clock is at most this much. I2 and I3 hold on the home's clock, whatever it does (against true time they
 * widen by the rate times its drift and its steps forward). That a lease that was written off admits nothing more, and so
 * I4 and I2 then, rests on steps of both clocks together staying below the write-off's margin of 30 s. The rest of the
 * invariants hold under any clock.
 */
export const STEP_MAX_MS = 10_000;
const MINUTE_MS = 60_000;
/** Output dearer than input, and what was cached cheaper still. */
const WEIGHED: Weights = { input: 500, cachedInput: 100, output: 2_000 };

export function scheduleOf(seed: number): Schedule {
  const random = randomFrom(seed ^ 0x5bd1e995);
  const actions = Array.from({ length: random.int(4, 18) }, () => random.int(0, 2 ** 30));
  return { seed, actions };
}

export function settingOf(seed: number): Setting {
  const random = randomFrom(seed);
  const holders = random.pick([1, 1, 2, 2, 3, 4, 8, 9]);
  // Of another sequence, so that what else a seed means does not hang on it.
  const sharing = randomFrom(seed ^ 0x7f4a7c15);
  const shards = sharing.chance(250) ? sharing.pick(holders > 3 ? [2] : [2, 2, 4]) : 1;
  const racing = randomFrom(seed ^ 0x3c6ef372);
  const places = Array.from({ length: holders + 1 });
  const more = Array.from({ length: (shards - 1) * places.length });
  const stormy = random.chance(600);
  return {
    holders,
    shards,
    limits: limitsOf(random),
    keyLimits: random.chance(250) ? { tokensPerMinute: random.int(500, 6_000) } : {},
    endUserLimits: random.chance(200) ? { tokensPerMinute: random.int(300, 3_000) } : {},
    overdraft: random.pick(["debt", "stop"]),
    softAllowanceTokens: random.chance(200) ? random.int(200, 4_000) : 0,
    weights: random.chance(250) ? WEIGHED : EVEN_WEIGHTS,
    blocks: random.chance(600) ? blocksOf(random) : null,
    breakPerMille: random.chance(300) ? random.int(1, 150) : 0,
    racePerMille: racing.chance(400) ? racing.int(50, 800) : 0,
    net: {
      lossPerMille: stormy ? random.int(0, 200) : 0,
      duplicatePerMille: stormy ? random.int(0, 200) : 0,
      slowPerMille: stormy ? random.int(0, 300) : 0,
      delayMaxMs: stormy ? random.pick([500, 3_000, 30_000]) : 300,
    },
    driftPerMille: [...places.map(() => driftOf(random)), ...more.map(() => driftOf(sharing))],
    offsetMs: [...places.map(() => offsetOf(random)), ...more.map(() => offsetOf(sharing))],
    crashPerMille: random.chance(400) ? random.int(1, 60) : 0,
  };
}

function driftOf(random: Random): number {
  return random.int(-10, 10);
}

function offsetOf(random: Random): number {
  return 1_800_000_000_000 + random.int(0, 600_000);
}

/** Looser than production's, so that blocks and small budgets meet: the invariants hold for any size. */
function blocksOf(random: Random): BlockSetting {
  return {
    share: random.pick([BLOCK_SHARE, 0.2, 0.5, 1]),
    leastRequests: random.pick([1, 2, BLOCK_LEAST_REQUESTS]),
    perSecond: random.pick([1, 2, 5, BLOCK_EARNING_PER_SECOND]),
  };
}

function limitsOf(random: Random): Limits {
  const tokensPerMinute = random.pick([600, 1_000, 3_000, 10_000, 60_000, 600_000]);
  return {
    tokensPerMinute,
    ...(random.chance(500) ? { tokensPerDay: tokensPerMinute * random.int(2, 20) } : {}),
    ...(random.chance(500) ? { requestsPerMinute: random.pick([10, 60, 300]) } : {}),
    ...(random.chance(500) ? { concurrentRequests: random.pick([2, 5, 10, 40]) } : {}),
  };
}

export function actionOf(seed: number, regions: number): Action {
  const random = randomFrom(seed);
  const afterMs = pauseMs(random);
  const region = random.int(0, regions - 1);
  const roll = random.int(0, 99);
  if (roll < 30) return { afterMs, region, kind: "load", ...loadOf(random) };
  // Leases are earned by steady demand, so most schedules have one hot place.
  if (roll < 50) return { afterMs, region: Math.min(1, regions - 1), kind: "load", ...rushOf(random) };
  if (roll < 54) {
    const againMs = random.int(17, 24) * MINUTE_MS;
    const how = { holds: random.chance(500), freezes: random.chance(700) };
    const loads = { first: rushOf(random), second: rushOf(random) };
    return { afterMs, region: 1, kind: "siege", againMs, ...how, ...loads };
  }
  if (roll < 63) return { afterMs, kind: "cut", ...cutOf(random, region, Math.min(1, regions - 1)) };
  if (roll < 70) return { afterMs, region, kind: "crash", when: random.pick(["before", "after"]) };
  if (roll < 78) return { afterMs, region, kind: "evict" };
  if (roll < 83) return { afterMs, region, kind: "twin", forMs: random.int(500, 20_000) };
  if (roll < 88) return { afterMs, region, kind: "step", ...stepOf(random) };
  if (roll < 93) return { afterMs, region: 0, kind: "limits", perMille: random.pick([100, 500, 2_000]) };
  if (roll < 97) return { afterMs, region, kind: "leave" };
  return { afterMs, region, kind: roll < 98 ? "gate_dies" : "isolate_dies" };
}

/** Reports that are held up for longer than a block or a reservation waits for its first come late. */
function cutOf(random: Random, region: number, hot: number) {
  const holds = random.chance(300);
  if (random.chance(500)) {
    const forMs = random.pick([2_000, 20_000, 70_000, 2 * MINUTE_MS, 2 * MINUTE_MS, 18 * MINUTE_MS]);
    return { region: random.pick([region, hot]), link: "gate" as const, forMs, holds };
  }
  const forMs = random.pick([2_000, 8_000, 20_000, 70_000, 18 * MINUTE_MS]);
  return { region, link: "home" as const, forMs, holds };
}

function stepOf(random: Random) {
  return {
    byMs: random.int(-STEP_MAX_MS, STEP_MAX_MS),
    of: random.pick(["object", "object", "isolate"] as const),
  };
}

function pauseMs(random: Random): number {
  const roll = random.int(0, 99);
  if (roll < 70) return random.int(0, 6_000);
  if (roll < 90) return random.int(6_000, 60_000);
  if (roll < 96) return random.int(1, 20) * MINUTE_MS;
  // Around a day the window lets go of what was spent.
  if (roll < 98) return (24 * 60 + random.int(-6, 6)) * MINUTE_MS;
  return random.int(1, 25) * 60 * MINUTE_MS;
}

function loadOf(random: Random): Load {
  const long = random.chance(8);
  const tokensPerSecond = random.pick([5, 20, 50, 120]);
  return {
    requests: random.pick([1, 2, 5, 10, 25]),
    gapMs: random.pick([0, 50, 300, 900]),
    promptTokens: random.pick([5, 30, 200, 900]),
    missedTokens: random.chance(150) ? random.pick([-4, 10, 300]) : 0,
    outputTokens: tokensPerSecond * (long ? random.int(60, 870) : random.int(0, 12)),
    tokensPerSecond,
  };
}

function rushOf(random: Random): Load {
  return {
    requests: random.int(10, 60),
    gapMs: random.pick([10, 20, 50, 100, 250, 600]),
    promptTokens: random.pick([1, 5, 30]),
    missedTokens: random.chance(100) ? 10 : 0,
    outputTokens: random.int(0, 60),
    tokensPerSecond: random.pick([10, 50]),
  };
}

/** Limits as an operator changes them: all of them alike, none to nothing. */
export function scaled(limits: Limits, perMille: number): Limits {
  const part = (limit: number | undefined, least: number) =>
    limit === undefined ? undefined : Math.max(least, Math.floor((limit * perMille) / 1_000));
  const { tokensPerMinute, tokensPerDay, requestsPerMinute, concurrentRequests } = limits;
  const next = {
    tokensPerMinute: part(tokensPerMinute, 100),
    tokensPerDay: part(tokensPerDay, 100),
    requestsPerMinute: part(requestsPerMinute, 1),
    concurrentRequests: part(concurrentRequests, 1),
  };
  return Object.fromEntries(Object.entries(next).filter(([, limit]) => limit !== undefined)) as Limits;
}
