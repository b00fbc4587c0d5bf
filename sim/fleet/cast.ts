import type { Band } from "../../src/routing/messages.ts";
import { dice, name53 } from "./hash.ts";
import { TRACE_BLOCK_TOKENS, type TraceLine } from "./trace.ts";

/** One request as it is played: the trace's line with a tenant, a band, a place and names that its tenant's salt makes. */
export interface Call {
  readonly index: number;
  readonly atMs: number;
  readonly promptTokens: number;
  readonly outputTokens: number;
  /** Of the prompt: what another replica generated before it died, beyond the blocks. */
  readonly carriedTokens?: number;
  /** Indexes into `Cast.sizes`: which KV blocks the prompt takes, the last one partial. */
  readonly blocks: readonly number[];
  /** What the edge would send of the full ones: hashes, one each. */
  readonly names: readonly number[];
  /** What the edge makes of the prompt's length without a tokenizer. */
  readonly estimatedTokens: number;
  readonly session: number;
  readonly tenant: string;
  readonly band: Band;
  /** Tells the client's location, 0 … 1: see `world/places.ts`. */
  readonly place: number;
}

export interface Cast {
  readonly calls: readonly Call[];
  /** Tokens of each block. */
  readonly sizes: Int32Array;
}

export interface CastOptions {
  readonly seed: number;
  /** The trace is played so many times as fast. */
  readonly speed: number;
  /** Shared prefixes are shared within a tenant only, because its salt is in every name. 1: no salts. */
  readonly tenants: number;
  /** Share of sessions whose first token somebody waits for; the rest is batch. Null: all the same band. */
  readonly interactiveShare: number | null;
}

/** What an estimate without a tokenizer misses by, once its ratios are learned. */
const ESTIMATE_ERROR = 0.1;

/**
 * Makes up what no trace tells. A conversation is known by its second block (the first is the system prompt that all
 * share) and keeps its tenant, its band and its place.
 */
export function castOf(lines: readonly TraceLine[], options: CastOptions): Cast {
  const { seed, speed, tenants, interactiveShare } = options;
  const numbers = new Map<number, number>();
  const sizes: number[] = [];
  const calls = lines.map((line, index): Call => {
    const session = line.blocks[1] ?? -1 - line.blocks[0]!;
    const tenant = Math.floor(dice(seed, session, 1) * tenants);
    const blocks = line.blocks.map((block, at) => {
      const key = block * tenants + tenant;
      let number = numbers.get(key);
      if (number === undefined) {
        number = sizes.length;
        numbers.set(key, number);
        sizes.push(Math.min(TRACE_BLOCK_TOKENS, line.promptTokens - at * TRACE_BLOCK_TOKENS));
      }
      return number;
    });
    const full = Math.floor(line.promptTokens / TRACE_BLOCK_TOKENS);
    const band = interactiveShare === null ? "default" : dice(seed, session, 2) < interactiveShare;
    return {
      index,
      atMs: line.atMs / speed,
      promptTokens: line.promptTokens,
      outputTokens: line.outputTokens,
      blocks,
      names: blocks.slice(0, full).map(name53),
      estimatedTokens: Math.ceil(line.promptTokens * (1 + ESTIMATE_ERROR * (2 * dice(seed, index, 3) - 1))),
      session,
      tenant: `t${tenant}`,
      band: band === "default" ? band : band ? "interactive" : "batch",
      place: dice(seed, session, 4),
    };
  });
  return { calls, sizes: Int32Array.from(sizes) };
}
