import {
  KV_IN_FLIGHT_BATCH_MAX,
  KV_IN_FLIGHT_MAX,
  PREFILL_AHEAD_MAX_TOKENS,
  PREFIX_CACHE_DEFAULT_TOKENS,
} from "../../bounds.ts";
import type { ReplicaReport } from "../../contract/report.ts";
import { BANDS, type Band } from "../messages.ts";
import { Concurrency } from "./concurrency.ts";
import { BAND_RANK, type Entry, kvTokensOf } from "./entry.ts";
import { PrefillAccount } from "./prefill.ts";
import { PrefixIndex } from "./prefix-index.ts";

/** How a pool holds requests back; the simulator's baselines send at once, with no limit. */
export interface Holding {
  readonly prefillAheadTokens: number;
  readonly kvShare: number;
  readonly kvBatchShare: number;
}

export const HOLDING: Holding = {
  prefillAheadTokens: PREFILL_AHEAD_MAX_TOKENS,
  kvShare: KV_IN_FLIGHT_MAX,
  kvBatchShare: KV_IN_FLIGHT_BATCH_MAX,
};

/** How much one request's time with a permit moves the mean. */
const PERMIT_TIME_STEP = 0.05;

/** What a pool knows of one replica. Its own accounts are primary: heartbeats are a second old (replay §4). */
export class Replica {
  report: ReplicaReport;
  seenAtMs: number;
  permits = 0;
  /** Prompt and expected output of those that have a permit. */
  kvTokens = 0;
  /** Mean time from permit to release; null until one was measured. */
  permitMs: number | null = null;
  readonly index = new PrefixIndex();
  readonly prefill = new PrefillAccount();
  readonly concurrency = new Concurrency();
  /** Bound here and not sent yet. */
  readonly held = new Map<string, Entry>();
  /** Uncached tokens of those held, by band, the most urgent first. */
  readonly #heldTokens = BANDS.map(() => 0);

  constructor(report: ReplicaReport, nowMs: number) {
    this.report = report;
    this.seenAtMs = nowMs;
    this.#sized();
  }

  get id(): string {
    return this.report.id;
  }

  /** Returns whether it is another process than before: its cache is empty. */
  heard(report: ReplicaReport, nowMs: number): boolean {
    const restarted = report.bootId !== this.report.bootId;
    [this.report, this.seenAtMs] = [report, nowMs];
    this.#sized();
    if (restarted) this.index.clear();
    return restarted;
  }

  hold(entry: Entry): void {
    this.held.set(entry.id, entry);
    this.#heldTokens[BAND_RANK[entry.work.band]]! += entry.uncachedTokens;
    this.index.learn(entry.work.blocks, entry.work.blockTokens);
  }

  unhold(entry: Entry): void {
    if (!this.held.delete(entry.id)) return;
    this.#heldTokens[BAND_RANK[entry.work.band]]! -= entry.uncachedTokens;
    if (this.held.size === 0) this.#heldTokens.fill(0);
  }

  sent(entry: Entry, nowMs: number): void {
    this.permits += 1;
    this.kvTokens += kvTokensOf(entry.work);
    this.prefill.sent(entry.id, entry.uncachedTokens, entry.work.band === "batch", nowMs);
    this.index.learn(entry.work.blocks, entry.work.blockTokens);
  }

  ended(id: string, kvTokens: number, heldForMs: number | null, nowMs: number): void {
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
    let tokens = this.prefill.aheadTokens(nowMs);
    for (let rank = 0; rank <= BAND_RANK[band]; rank++) tokens += this.#heldTokens[rank]!;
    return tokens;
  }

  /** Whether there is room in its queue of prompts and in its memory; permits are the pool's to count. */
  mayTake({ work }: Entry, holding: Holding, nowMs: number): boolean {
    if (this.prefill.count > 0 && this.prefill.aheadTokens(nowMs) >= holding.prefillAheadTokens) return false;
    const isBatch = work.band === "batch";
    if (isBatch && this.prefill.batch > 0 && Number.isFinite(holding.prefillAheadTokens)) return false;
    if (this.permits === 0) return true;
    const share = isBatch ? holding.kvBatchShare : holding.kvShare;
    const { cacheTokens, kvCacheUsage } = this.report;
    if (cacheTokens === undefined) return kvCacheUsage <= share;
    return this.kvTokens + kvTokensOf(work) <= share * cacheTokens;
  }

  #sized(): void {
    const { cacheTokens, hostCacheTokens = 0 } = this.report;
    this.index.sized((cacheTokens ?? PREFIX_CACHE_DEFAULT_TOKENS) + hostCacheTokens);
  }
}
