import { OBJECT_CALL_TIMEOUT_MS, SHARDS_MAX } from "../bounds.ts";
import {
  OBJECT_ASKED_PER_SECOND,
  OBJECT_DRAWN_PER_SECOND,
  SHARD_BETTER,
  SHARD_COOL,
  SHARD_COOL_MS,
  SHARD_HOT,
  SHARD_JOIN,
  SHARD_KEPT_MS,
  SHARD_LEAVE_MS,
  SHARD_SETTLE_MS,
} from "./bounds.ts";

/**
 * Which of a location's objects an isolate asks for a tenant too hot for one. Objects only say how busy they are, and each
 * isolate chooses for itself, so nobody has to know how the others are spread; nothing about correctness hangs on it, since
 * every shard is a lease holder. It lives in memory.
 */

/** Of one object's measured rate in use, as a moving average over a few seconds. */
export interface Heat {
  readonly load: number;
  readonly atMs: number;
}

export const COLD: Heat = { load: 0, atMs: 0 };

/** Requests that were admitted: asked for one by one, and out of blocks. */
export interface Work {
  readonly asked: number;
  readonly drawn: number;
}

const NO_WORK: Work = { asked: 0, drawn: 0 };

/** Time constant of the average. */
const WINDOW_MS = 5_000;

/** The heat after some work, of an object or of what one isolate asks of it. */
export function heated({ load, atMs }: Heat, { asked, drawn }: Work, nowMs: number): Heat {
  const busyMs = (asked / OBJECT_ASKED_PER_SECOND + drawn / OBJECT_DRAWN_PER_SECOND) * 1_000;
  return { load: load * Math.exp(-Math.max(0, nowMs - atMs) / WINDOW_MS) + busyMs / WINDOW_MS, atMs: nowMs };
}

/** One isolate's choice for one tenant at its location. */
export interface ShardChoice {
  /** 0 is the location's own object. */
  readonly shard: number;
  /** Others are tried below this power of two, which is above `shard`: it doubles when none there is better. */
  readonly reach: number;
  /** What the shard last said of itself. */
  readonly load: number;
  /** When that was; 0: never. */
  readonly heardMs: number;
  /** When it last had more to do than lets it be given up. */
  readonly warmMs: number;
  /** Until then no other is tried: the averages have to follow first. */
  readonly restUntilMs: number;
  /** Another one, to which the next single request goes, so that it says how busy it is. */
  readonly trial: { readonly shard: number; readonly sentMs: number | null } | null;
  /** What this isolate has lately asked for. */
  readonly own: Heat;
}

export const UNCHOSEN: ShardChoice = {
  ...{ shard: 0, reach: 2, load: 0, heardMs: 0, warmMs: 0, restUntilMs: 0 },
  trial: null,
  own: COLD,
};

/** The shard that the next request asks: the chosen one, or once the one that is tried. */
export function asking(choice: ShardChoice, nowMs: number): { choice: ShardChoice; shard: number } {
  const { heardMs, trial } = choice;
  if (heardMs > 0 && nowMs - heardMs > SHARD_KEPT_MS)
    return { choice: { ...UNCHOSEN, own: choice.own }, shard: 0 };
  if (trial === null || trial.sentMs !== null) return { choice, shard: choice.shard };
  return { choice: { ...choice, trial: { ...trial, sentMs: nowMs } }, shard: trial.shard };
}

/** This isolate had requests admitted. */
export function worked(choice: ShardChoice, work: Work, nowMs: number): ShardChoice {
  return { ...choice, own: heated(choice.own, work, nowMs) };
}

/**
 * A shard said how busy it is. At a crowded one each isolate tries another after a random time, at such a rate that together
 * what is too much there decays at one time constant, however many they are; at one that was
 * cool for long they try the one that it was split from. `random` gives numbers in [0, 1).
 */
export function heard(
  choice: ShardChoice,
  said: { readonly shard: number; readonly load: number },
  nowMs: number,
  random: () => number,
): ShardChoice {
  const { shard, trial } = choice;
  if (trial !== null && trial.sentMs !== null && said.shard === trial.shard)
    return judged(choice, trial.shard, said.load, nowMs);
  // An answer that was under way from a shard that was left.
  if (said.shard !== shard) return choice;
  const warmMs = said.load < SHARD_COOL ? Math.min(choice.warmMs, nowMs) : nowMs;
  const now = { ...choice, load: said.load, heardMs: nowMs, warmMs };
  if (trial !== null) return isLost(trial.sentMs, nowMs) ? rested(now, nowMs) : now;
  if (nowMs < now.restUntilMs && now.restUntilMs - nowMs <= SHARD_SETTLE_MS) return now;
  if (random() < leaving(choice, said.load, nowMs)) return tried(now, another(now, random()));
  return shard > 0 && nowMs - warmMs >= SHARD_COOL_MS ? tried(now, splitFrom(shard)) : now;
}

/**
 * A shard did not answer. Who asks it goes to any of the others, so that not one of them gets all of its requests. The
 * location's own object is asked again: while the home is out of reach, it alone admits on trust.
 */
export function unheard(
  choice: ShardChoice,
  shard: number,
  nowMs: number,
  random: () => number,
): ShardChoice {
  if (shard === choice.trial?.shard) return rested(choice, nowMs);
  if (shard === 0 || shard !== choice.shard) return choice;
  const there = another(choice, random());
  return rested({ ...choice, shard: there, load: 0, heardMs: nowMs, warmMs: nowMs }, nowMs);
}

/** The chance to try another one now: a rate times the time since the last chance, so who hears seldom decides as soon. */
function leaving({ heardMs, restUntilMs }: ShardChoice, load: number, nowMs: number): number {
  if (load < SHARD_HOT) return 0;
  const sinceMs = heardMs === 0 ? SHARD_LEAVE_MS : Math.max(0, nowMs - Math.max(heardMs, restUntilMs));
  return 1 - Math.exp((-(1 - SHARD_HOT / load) * sinceMs) / SHARD_LEAVE_MS);
}

/**
 * The lesser of the two. From a crowded one only to where it is clearly less crowded with what this isolate brings: every such
 * move makes the loads more even, so moving ends. From a cool one only if all of it fits well into the other.
 */
function judged(choice: ShardChoice, shard: number, load: number, nowMs: number): ShardChoice {
  const crowded = choice.load >= SHARD_HOT;
  const brings = crowded ? heated(choice.own, NO_WORK, nowMs).load : choice.load;
  const better = crowded ? load + brings < SHARD_BETTER * choice.load : load + brings <= SHARD_JOIN;
  if (better) {
    const there = { shard, reach: reachOf(shard), load: load + brings, heardMs: nowMs, warmMs: nowMs };
    return rested({ ...choice, ...there }, nowMs);
  }
  // A cool one stays as it is for as long again.
  if (!crowded) return rested({ ...choice, warmMs: nowMs }, nowMs);
  if (choice.reach === SHARDS_MAX) return rested(choice, nowMs);
  // Nothing has moved, so there is nothing to wait for.
  return { ...choice, trial: null, reach: choice.reach * 2 };
}

function tried(choice: ShardChoice, shard: number): ShardChoice {
  return { ...choice, trial: { shard, sentMs: null } };
}

function rested(choice: ShardChoice, nowMs: number): ShardChoice {
  return { ...choice, trial: null, restUntilMs: nowMs + SHARD_SETTLE_MS };
}

/** The trial's answer does not come any more, or was a refusal, which says nothing of heat. */
function isLost(sentMs: number | null, nowMs: number): boolean {
  return sentMs !== null && (nowMs < sentMs || nowMs - sentMs > OBJECT_CALL_TIMEOUT_MS);
}

function another({ reach, shard }: ShardChoice, random: number): number {
  const drawn = Math.floor(random * (reach - 1));
  return drawn < shard ? drawn : drawn + 1;
}

/** The one without its highest bit. */
function splitFrom(shard: number): number {
  return shard - reachOf(shard) / 2;
}

/** The least power of two above a shard; at least two, so that there is another one. */
function reachOf(shard: number): number {
  return Math.max(2, 2 ** Math.ceil(Math.log2(shard + 1)));
}
