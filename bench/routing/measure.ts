import { BASELINES, type BaselineName, baseline } from "../../sim/fleet/baselines.ts";
import { type Cast, type CastOptions, castOf } from "../../sim/fleet/cast.ts";
import { CoreRouter } from "../../sim/fleet/core-router.ts";
import { pooledHitTokens } from "../../sim/fleet/kv-cache.ts";
import { type Outcome, replay } from "../../sim/fleet/replay.ts";
import type { Router } from "../../sim/fleet/router.ts";
import { ENGINES, type EngineSpec } from "../../sim/fleet/step-engine.ts";
import type { TraceLine } from "../../sim/fleet/trace.ts";
import { POLICIES, type PolicyName } from "../../src/routing/messages.ts";

/** One policy at one speed, and what came of it. */

export type EngineName = keyof typeof ENGINES;
/** The pool's own policies, and the ones that it is compared with; where both have one of a name, ours says so. */
export type Contender = PolicyName | `plain ${BaselineName}`;
const PLAIN = BASELINES.map((name) => `plain ${name}` as const);
export const CONTENDERS: readonly Contender[] = [...PLAIN, ...POLICIES];
/** The pool's other policies are played when they are named: past saturation each takes a minute. */
export const DEFAULT_CONTENDERS: readonly Contender[] = ["predicted-ttft", ...PLAIN];

export const REPLICAS = Array.from({ length: 8 }, (_, index) => `replica-${index}`);
export const TENANTS = 20;
/** A person who waits longer than that for the first token has waited too long. */
export const TARGET_MS = 2_000;
/** Permits per replica: above what its memory holds, so that the pool's own view of memory decides. */
const CONCURRENCY_PER_REPLICA = 64;
/** In a replay nobody gives up, so that every policy serves every request. */
const WAIT_MS = 24 * 60 * 60_000;

export interface Setting {
  readonly lines: readonly TraceLine[];
  readonly contender: Contender;
  readonly engine: EngineName;
  readonly cast: CastOptions;
}

export interface Figures {
  readonly meanMs: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
  /** Prompt tokens that were found in a cache, of all, 0 … 1. */
  readonly hits: number;
  readonly hitsOfPooled: number;
  readonly hitsOfInfinite: number;
  /** Requests a second whose first token came within the target. */
  readonly goodputPerSecond: number;
  /** Share of all requests whose first token came within the target. */
  readonly attainment: number;
  /** Prompt and output tokens a second of what had ended when the last request arrived. */
  readonly tokensPerSecond: number;
  readonly refusals: number;
  readonly inFlightMost: number;
}

/** One run, with what became of each request. */
export interface Played {
  readonly contender: Contender;
  readonly engine: EngineName;
  readonly speed: number;
  readonly outcomes: readonly Outcome[];
}

export function measure(setting: Setting, onPlayed: (played: Played) => void = () => {}): Figures {
  const { lines, contender, engine, cast: options } = setting;
  const cast = castOf(lines, options);
  const { outcomes, inFlightMost } = play(cast, contender, ENGINES[engine], options.seed);
  onPlayed({ contender, engine, speed: options.speed, outcomes });
  return { ...figuresOf(outcomes, cast, ENGINES[engine]), inFlightMost };
}

export function play(cast: Cast, contender: Contender, engine: EngineSpec, seed: number) {
  const policy = isPlain(contender) ? "least-load" : contender;
  const config = {
    catalogueVersion: 1,
    concurrencyPerReplica: CONCURRENCY_PER_REPLICA,
    tokensPerSecond: null,
    policy,
  };
  const router: Router = isPlain(contender)
    ? baseline(contender.slice("plain ".length) as BaselineName, REPLICAS, seed)
    : new CoreRouter(config, WAIT_MS, 0);
  return replay({ cast, replicas: REPLICAS, engine, config, router });
}

function isPlain(contender: Contender): contender is `plain ${BaselineName}` {
  return contender.startsWith("plain ");
}

export function figuresOf(
  outcomes: readonly Outcome[],
  cast: Cast,
  engine: EngineSpec,
): Omit<Figures, "inFlightMost"> {
  const waits = outcomes.map(firstTokenMs).sort((one, other) => one - other);
  const count = waits.length;
  const met = waits.filter((ms) => ms <= TARGET_MS).length;
  const hitTokens = sum(outcomes, ({ cachedTokens }) => cachedTokens);
  const ideal = idealHits(cast, engine);
  const windowMs = Math.max(1, cast.calls.at(-1)!.atMs);
  const ended = outcomes.filter(({ call, endMs }) => call.atMs + endMs! <= windowMs);
  return {
    meanMs: sum(waits, (ms) => ms) / count,
    p50Ms: waits[Math.floor(count * 0.5)]!,
    p99Ms: waits[Math.floor(count * 0.99)]!,
    hits: hitTokens / sum(cast.calls, ({ promptTokens }) => promptTokens),
    // A trace without shared prefixes: nothing to find, and nothing missed.
    hitsOfPooled: hitTokens / ideal.pooledTokens || 1,
    hitsOfInfinite: hitTokens / ideal.infiniteTokens || 1,
    goodputPerSecond: (met * 1_000) / windowMs,
    attainment: met / count,
    tokensPerSecond: (sum(ended, ({ call }) => call.promptTokens + call.outputTokens) * 1_000) / windowMs,
    refusals: sum(outcomes, ({ refusals }) => refusals),
  };
}

function firstTokenMs({ call, firstTokenMs }: Outcome): number {
  if (firstTokenMs === null) throw new Error(`request ${call.index} never got its first token`);
  return firstTokenMs;
}

interface Ideal {
  readonly pooledTokens: number;
  readonly infiniteTokens: number;
}

/** By names of blocks, which depend on tenants alone: the same for all speeds and policies. */
const ideals = new Map<string, Ideal>();

function idealHits(cast: Cast, engine: EngineSpec): Ideal {
  const tokens = REPLICAS.length * (engine.gpuTokens + engine.hostTokens);
  const { sizes, calls } = cast;
  const key = `${tokens}/${calls.length}/${calls.reduce((hash, { tenant }) => hashed(hash, tenant), 7)}`;
  const known = ideals.get(key);
  if (known) return known;
  const ideal = {
    pooledTokens: pooledHitTokens(calls, sizes, tokens),
    infiniteTokens: pooledHitTokens(calls, sizes, Infinity),
  };
  ideals.set(key, ideal);
  return ideal;
}

function hashed(hash: number, text: string): number {
  let next = hash;
  for (let at = 0; at < text.length; at += 1) next = (Math.imul(next, 31) + text.charCodeAt(at)) | 0;
  return next;
}

export function sum<Item>(items: readonly Item[], of: (item: Item) => number): number {
  return items.reduce((total, item) => total + of(item), 0);
}

/** The mean of each figure over several seeds. */
export function averaged(runs: readonly Figures[]): Figures {
  const keys = Object.keys(runs[0]!) as (keyof Figures)[];
  return Object.fromEntries(
    keys.map((key) => [key, sum(runs, (run) => run[key]) / runs.length]),
  ) as unknown as Figures;
}
