import { POOL_WAIT_MAX_MS } from "../../bounds.ts";
import type { AcquireAsk, Band, Work } from "../messages.ts";

/** One request that is bound to a replica, held at the pool or sent. */
export interface Entry {
  readonly id: string;
  readonly exclude: readonly string[];
  readonly work: Work;
  readonly arrivedAtMs: number;
  /** When it was told that it waits; later than its arrival where it asks again after a restart. */
  readonly askedAtMs: number;
  /** Waits until then at most. */
  readonly untilMs: number;
  readonly resumes: boolean;
  /** Grows with every arrival: whoever is equal otherwise goes in this order. */
  readonly number: number;
  replica: string;
  /** Blocks that its replica was believed to have when it was bound. */
  hitBlocks: number;
  cachedTokens: number;
  uncachedTokens: number;
  /** As told when it came; null where nothing was measured yet. */
  predictedWaitMs: number | null;
}

/** What a request is taken for whose edge does not say. */
export const SMALL_WORK: Work = {
  promptTokens: 256,
  outputTokens: 256,
  blocks: [],
  blockTokens: 128,
  tenant: "",
  band: "default",
  session: null,
  firstTokenByMs: null,
  bytes: 0,
};

export function entryOf(ask: AcquireAsk, number: number, nowMs: number): Entry {
  const work = ask.work ?? SMALL_WORK;
  // Nobody waits longer, so nobody gains a better place by saying so.
  const arrivedAtMs = Math.max(nowMs - POOL_WAIT_MAX_MS, Math.min(nowMs, ask.sinceMs ?? nowMs));
  const waitMs = Math.min(ask.waitMs, POOL_WAIT_MAX_MS);
  return {
    ...{
      id: ask.id,
      exclude: ask.exclude,
      work,
      arrivedAtMs,
      askedAtMs: nowMs,
      untilMs: nowMs + waitMs,
      number,
    },
    ...{ resumes: ask.resumes ?? false, replica: "", hitBlocks: 0, cachedTokens: 0 },
    ...{ uncachedTokens: work.promptTokens, predictedWaitMs: null },
  };
}

/** Its KV memory once it has answered. Shared prefixes count for each: erring high. */
export function kvTokensOf({ promptTokens, outputTokens }: Work): number {
  return promptTokens + outputTokens;
}

/** Tokens found in a cache, by its leading blocks; one token is always computed. */
export function cachedTokensOf(work: Work, hitBlocks: number): number {
  return Math.max(0, Math.min(hitBlocks * work.blockTokens, work.promptTokens - 1));
}

export const BAND_RANK: Readonly<Record<Band, number>> = { interactive: 0, default: 1, batch: 2 };
