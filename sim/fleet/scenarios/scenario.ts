import { fileURLToPath } from "node:url";
import { castOf } from "../cast.ts";
import { ENGINES } from "../step-engine.ts";
import { readTrace } from "../trace.ts";
import type { Seen } from "../world/request.ts";
import { World } from "../world/world.ts";

/** One thing that goes wrong in a world, what was seen of it, and what had to hold. */
export interface Scenario {
  readonly name: string;
  readonly title: string;
  play(seed: number): Promise<Report>;
}

export interface Report {
  readonly seen: readonly Seen[];
  readonly marks: readonly Mark[];
  readonly checks: readonly Check[];
  /** Shown beside the checks, and no condition. */
  readonly figures: Readonly<Record<string, number>>;
}

export interface Mark {
  readonly label: string;
  readonly fromMs: number;
  readonly toMs: number;
}

export interface Check {
  readonly what: string;
  readonly limit: string;
  readonly measured: number;
  readonly ok: boolean;
}

export const SAMPLE = fileURLToPath(new URL("../traces/conversation-1500.jsonl.gz", import.meta.url));
/** Longer prompts take a replica more than the three seconds after which nobody can tell a fault from work. */
const PROMPT_MAX_TOKENS = 32_000;

export interface Stage {
  readonly seed: number;
  readonly speed?: number;
  readonly replicasPerRegion?: number;
}

/** Three regions and the bundled sample of the trace, without its longest prompts, from six cities. */
export function staged({ seed, speed = 1.5, replicasPerRegion = 4 }: Stage): World {
  const lines = readTrace(SAMPLE).filter(({ promptTokens }) => promptTokens <= PROMPT_MAX_TOKENS);
  const cast = castOf(lines, { seed, speed, tenants: 20, interactiveShare: null });
  const engine = ENGINES.h;
  return new World({
    ...{ seed, cast, engine, replicasPerRegion },
    concurrencyPerReplica: 24,
    firstTokenTimeoutMs: 10_000,
  });
}

export function check(what: string, measured: number, kind: "≤" | "≥", limit: number): Check {
  const ok = kind === "≤" ? measured <= limit : measured >= limit;
  return { what, limit: `${kind} ${limit}`, measured, ok };
}

/**
 * What holds whatever happens while any region has room: every request ends once, nobody gets an error in place of the
 * first byte, no replica has more than its cap, and once the fault is over all is as it was (no cascade).
 */
export function alwaysTrue(world: World, seen: readonly Seen[], overMs: number): Check[] {
  const { cast, concurrencyPerReplica } = world.options;
  const ended = new Set(seen.map(({ call }) => call.index));
  const after = seen.filter(({ atMs }) => atMs > overMs + RECOVERED_AFTER_MS);
  const most = Math.max(...[...world.regions.values()].map(({ inFlightMost }) => inFlightMost));
  return [
    check(
      "requests that ended not exactly once",
      cast.calls.length - ended.size + seen.length - ended.size,
      "≤",
      0,
    ),
    check(
      "errors before the first byte",
      count(seen, ({ end }) => end === "error"),
      "≤",
      0,
    ),
    check("most requests at one replica", most, "≤", concurrencyPerReplica),
    check("first token within 5 s once it is over, share", within(after, 5_000), "≥", 0.98),
  ];
}

const RECOVERED_AFTER_MS = 30_000;

export function within(seen: readonly Seen[], ms: number): number {
  if (seen.length === 0) return 1;
  return count(seen, ({ firstTokenMs }) => firstTokenMs !== null && firstTokenMs <= ms) / seen.length;
}

export function count<Item>(items: readonly Item[], of: (item: Item) => boolean): number {
  return items.reduce((total, item) => total + Number(of(item)), 0);
}

export function quantileMs(seen: readonly Seen[], share: number): number {
  const waits = seen.flatMap(({ firstTokenMs }) => firstTokenMs ?? []).sort((one, other) => one - other);
  return Math.round(waits[Math.floor(share * (waits.length - 1))] ?? 0);
}

export function between(seen: readonly Seen[], { fromMs, toMs }: Mark): Seen[] {
  return seen.filter(({ atMs }) => atMs >= fromMs && atMs < toMs);
}
