import { BANDS, type Band } from "../messages.ts";
import { urgencyAt } from "./bands.ts";
import { BAND_RANK, type Entry, kvTokensOf } from "./entry.ts";
import type { Room } from "./replica.ts";

/**
 * Requests bound to one replica and not sent yet, with what is asked of them at every event kept as it changes: a pool
 * is one thread, and walking its whole queue for each first token would fill it.
 */
export class HeldHere {
  readonly #entries = new Map<string, Entry>();
  readonly #bands = BANDS.map(() => new HeldBand());
  /** Grows with every change. */
  revision = 0;

  get size(): number {
    return this.#entries.size;
  }

  values(): IterableIterator<Entry> {
    return this.#entries.values();
  }

  add(entry: Entry): void {
    this.revision += 1;
    this.#entries.set(entry.id, entry);
    this.#bands[BAND_RANK[entry.work.band]]!.add(entry);
  }

  delete(entry: Entry): void {
    if (!this.#entries.delete(entry.id)) return;
    this.revision += 1;
    this.#bands[BAND_RANK[entry.work.band]]!.delete(entry);
  }

  /** Uncached tokens of those that a request of this band waits for. */
  tokensBefore(band: Band): number {
    let tokens = 0;
    for (let rank = 0; rank <= BAND_RANK[band]; rank++) tokens += this.#bands[rank]!.tokens;
    return tokens;
  }

  /** The same, how many and what memory they want. */
  before(band: Band): { tokens: number; requests: number; kvTokens: number } {
    const before = { tokens: this.tokensBefore(band), requests: 0, kvTokens: 0 };
    for (let rank = 0; rank <= BAND_RANK[band]; rank++) {
      before.requests += this.#bands[rank]!.size;
      before.kvTokens += this.#bands[rank]!.kvTokens;
    }
    return before;
  }

  /** Of the one that counts most urgent now; infinite when nobody is held. */
  urgency(nowMs: number): number {
    let least = Infinity;
    for (const [rank, { oldestMs, size }] of this.#bands.entries()) {
      if (size > 0) least = Math.min(least, urgencyAt(BANDS[rank]!, oldestMs, nowMs));
    }
    return least;
  }

  /** Whether none of them wants as little memory as there is. */
  noneFits(room: Room): boolean {
    return BANDS.every((band, rank) => this.#bands[rank]!.leastKvTokens > room[band]);
  }
}

/** Sums over one band. The extremes are looked for anew only once the request that was one has gone. */
class HeldBand {
  readonly #entries = new Set<Entry>();
  #oldestMs = Infinity;
  #leastKvTokens = Infinity;
  #isStale = false;
  tokens = 0;
  kvTokens = 0;

  get size(): number {
    return this.#entries.size;
  }

  get oldestMs(): number {
    this.#look();
    return this.#oldestMs;
  }

  get leastKvTokens(): number {
    this.#look();
    return this.#leastKvTokens;
  }

  add(entry: Entry): void {
    this.#entries.add(entry);
    this.tokens += entry.uncachedTokens;
    this.kvTokens += kvTokensOf(entry.work);
    this.#include(entry);
  }

  delete(entry: Entry): void {
    this.#entries.delete(entry);
    const isEmpty = this.#entries.size === 0;
    const kvTokens = kvTokensOf(entry.work);
    this.tokens = isEmpty ? 0 : this.tokens - entry.uncachedTokens;
    this.kvTokens = isEmpty ? 0 : this.kvTokens - kvTokens;
    if (entry.arrivedAtMs <= this.#oldestMs || kvTokens <= this.#leastKvTokens) this.#isStale = true;
  }

  #include(entry: Entry): void {
    this.#oldestMs = Math.min(this.#oldestMs, entry.arrivedAtMs);
    this.#leastKvTokens = Math.min(this.#leastKvTokens, kvTokensOf(entry.work));
  }

  #look(): void {
    if (!this.#isStale) return;
    [this.#oldestMs, this.#leastKvTokens, this.#isStale] = [Infinity, Infinity, false];
    for (const entry of this.#entries) this.#include(entry);
  }
}
