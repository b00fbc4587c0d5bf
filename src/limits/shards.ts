import { SHARDS_MAX } from "../bounds.ts";
import {
  OBJECT_ASKED_PER_SECOND,
  OBJECT_DRAWN_PER_SECOND,
  SHARD_COOL,
  SHARD_COOL_MS,
  SHARD_HOT,
  SHARD_SETTLE_MS,
} from "./bounds.ts";

/**
 * How many objects share one location's requests of a tenant. The location's own object (shard 0) sees an even part of
 * them and decides for all; the others are lease holders like those of any location, so nothing about correctness hangs
 * on this, and it lives in memory.
 */
export interface Heat {
  /** Of one object's measured rate in use, as a moving average over a few seconds. */
  readonly load: number;
  readonly atMs: number;
  /** A power of two: when they double, half of each one's isolates move and the others stay. */
  readonly shards: number;
  readonly changedMs: number;
  /** When there last was too much load for half as many. */
  readonly warmMs: number;
}

export const COLD: Heat = { load: 0, atMs: 0, shards: 1, changedMs: 0, warmMs: 0 };

/** Requests that an object admitted: asked for one by one, and out of its blocks. */
export interface Work {
  readonly asked: number;
  readonly drawn: number;
}

/** Time constant of the average. */
const WINDOW_MS = 5_000;

/** The heat after some work, and what follows for the number of shards. */
export function heated(heat: Heat, { asked, drawn }: Work, nowMs: number): Heat {
  const busyMs = (asked / OBJECT_ASKED_PER_SECOND + drawn / OBJECT_DRAWN_PER_SECOND) * 1_000;
  const load = heat.load * Math.exp(-Math.max(0, nowMs - heat.atMs) / WINDOW_MS) + busyMs / WINDOW_MS;
  // A clock that stepped back must not hold a change up for longer than was meant.
  const changedMs = Math.min(heat.changedMs, nowMs);
  const warmMs = load < SHARD_COOL ? Math.min(heat.warmMs, nowMs) : nowMs;
  const shards = resharded({ ...heat, load, changedMs, warmMs }, nowMs);
  return { load, atMs: nowMs, shards, changedMs: shards === heat.shards ? changedMs : nowMs, warmMs };
}

function resharded({ changedMs, load, shards, warmMs }: Heat, nowMs: number): number {
  if (load >= SHARD_HOT && nowMs - changedMs >= SHARD_SETTLE_MS) return Math.min(SHARDS_MAX, shards * 2);
  if (nowMs - Math.max(changedMs, warmMs) >= SHARD_COOL_MS) return Math.max(1, shards / 2);
  return shards;
}

/** The shard that an isolate asks, by a number drawn once in its life: so it also keeps drawing on that one's blocks. */
export function shardOf(isolate: number, shards: number): number {
  return isolate % Math.min(shards, SHARDS_MAX);
}
