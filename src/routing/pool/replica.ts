import {
  KV_BATCH_LEAVES_MAX,
  KV_IN_FLIGHT_INTERACTIVE_MAX,
  KV_IN_FLIGHT_MAX,
  PREFILL_AHEAD_MAX_TOKENS,
  PREFIX_CACHE_DEFAULT_TOKENS,
} from "../../bounds.ts";
import type { ReplicaReport } from "../../contract/report.ts";
import type { Band } from "../messages.ts";
import { Concurrency } from "./concurrency.ts";
import { type Entry, kvTokensOf } from "./entry.ts";
import { HeldHere } from "./held-here.ts";
import { PrefillAccount } from "./prefill.ts";
import { PrefixIndex } from "./prefix-index.ts";

/** How a pool holds requests back; the simulator's baselines send at once, with no limit. */
export interface Holding {
  readonly prefillAheadTokens: number;
  /** Of KV memory, that requests may take when one is sent. */
  readonly kvShare: number;
  readonly kvInteractiveShare: number;
  /** Less for `batch`, of permits too: by as much as the more urgent were sent of late, and at most by this. */
  readonly batchLeavesMax: number;
}

export const HOLDING: Holding = {
  prefillAheadTokens: PREFILL_AHEAD_MAX_TOKENS,
  kvShare: KV_IN_FLIGHT_MAX,
  kvInteractiveShare: KV_IN_FLIGHT_INTERACTIVE_MAX,
  batchLeavesMax: KV_BATCH_LEAVES_MAX,
};

/** Of KV memory, that requests may take when one of each band is sent. */
export function kvShares(
  { kvShare, kvInteractiveShare }: Holding,
  batchLeaves: number,
): Record<Band, number> {
  return { interactive: kvInteractiveShare, default: kvShare, batch: kvShare - batchLeaves };
}

/** The most KV memory that a request of each band may want to be sent now, below 0 for none at all. */
export type Room = Readonly<Record<Band, number>>;

export const NO_ROOM: Room = { interactive: -1, default: -1, batch: -1 };

export function fits({ work }: Entry, room: Room): boolean {
  return kvTokensOf(work) <= room[work.band];
}

/** How much one request's time with a permit moves the mean. */
const PERMIT_TIME_STEP = 0.05;

/** What a pool knows of one replica. Its own accounts are primary: heartbeats are a second old (replay §4). */
export class Replica {
  report: ReplicaReport;
  seenAtMs: number;
  permits = 0;
  /** Prompt and expected output of those that have a permit. */
  kvTokens = 0;
  /**
   * What the engine's own count was above ours at its last word: answers longer than expected, and requests from before
   * the pool's restart. Sent up to the brim without it, a replica trips its breaker by its memory.
   */
  #unforeseenKvTokens = 0;
  /** Mean time from permit to release; null until one was measured. */
  permitMs: number | null = null;
  readonly index = new PrefixIndex();
  readonly prefill = new PrefillAccount();
  readonly concurrency = new Concurrency();
  /** Bound here and not sent yet. */
  readonly held = new HeldHere();
  #revision = 0;

  constructor(report: ReplicaReport, nowMs: number) {
    this.report = report;
    this.seenAtMs = nowMs;
    this.#sized();
  }

  get id(): string {
    return this.report.id;
  }

  /** Differs from before when anything here changed but the time. */
  get revision(): number {
    return this.#revision + this.held.revision + this.prefill.revision + this.index.revision;
  }

  /** KV memory that counts as taken. */
  get kvTakenTokens(): number {
    return this.kvTokens + this.#unforeseenKvTokens;
  }

  /** Returns whether it is another process than before: its cache is empty. */
  heard(report: ReplicaReport, nowMs: number): boolean {
    this.#revision += 1;
    const restarted = report.bootId !== this.report.bootId;
    [this.report, this.seenAtMs] = [report, nowMs];
    this.#sized();
    if (restarted) this.index.clear();
    return restarted;
  }

  hold(entry: Entry): void {
    this.held.add(entry);
    this.index.learn(entry.work.blocks, entry.work.blockTokens);
  }

  unhold(entry: Entry): void {
    this.held.delete(entry);
  }

  sent(entry: Entry, nowMs: number): void {
    this.#revision += 1;
    this.permits += 1;
    this.kvTokens += kvTokensOf(entry.work);
    const { uncachedTokens, work } = entry;
    this.prefill.sent(entry.id, uncachedTokens, work.promptTokens, work.band === "batch", nowMs);
    this.index.learn(entry.work.blocks, entry.work.blockTokens);
  }

  ended(id: string, kvTokens: number, heldForMs: number | null, nowMs: number): void {
    this.#revision += 1;
    this.permits -= 1;
    if (this.permits < 0) throw new Error(`pool: ${this.id} gave back more permits than it had (I4)`);
    this.kvTokens = Math.max(0, this.kvTokens - kvTokens);
    this.prefill.ended(id, nowMs);
    if (heldForMs === null) return;
    if (this.permitMs === null) this.permitMs = heldForMs;
    else this.permitMs += PERMIT_TIME_STEP * (heldForMs - this.permitMs);
  }

  /** Uncached tokens that are bound here and not computed: all that were sent, and of those held what a band waits for. */
  boundTokens(nowMs: number, band: Band = "batch"): number {
    return this.prefill.aheadTokens(nowMs) + this.held.tokensBefore(band);
  }

  /** What there is room for in its queue of prompts and in its memory; permits are the pool's to count. */
  room(holding: Holding, batchLeaves: number, nowMs: number): Room {
    const { prefill, permits } = this;
    if (prefill.count > 0 && prefill.aheadTokens(nowMs) >= holding.prefillAheadTokens) return NO_ROOM;
    const noBatch = prefill.batch > 0 && Number.isFinite(holding.prefillAheadTokens);
    const left = (share: number) => {
      if (permits === 0) return Infinity;
      const { cacheTokens, kvCacheUsage } = this.report;
      if (cacheTokens === undefined) return kvCacheUsage <= share ? Infinity : -1;
      return share * cacheTokens - this.kvTakenTokens;
    };
    const shares = kvShares(holding, batchLeaves);
    return {
      interactive: left(shares.interactive),
      default: left(shares.default),
      batch: noBatch ? -1 : left(shares.batch),
    };
  }

  #sized(): void {
    const { cacheTokens, hostCacheTokens = 0, kvCacheUsage } = this.report;
    this.#unforeseenKvTokens = Math.max(0, kvCacheUsage * (cacheTokens ?? 0) - this.kvTokens);
    this.index.sized((cacheTokens ?? PREFIX_CACHE_DEFAULT_TOKENS) + hostCacheTokens);
  }
}
