import { PREFIX_CACHE_DEFAULT_TOKENS, PREFIX_INDEX_BLOCKS_MAX } from "../../bounds.ts";

/** Of the reported size: the engine pins blocks of running sequences, so not all of it holds prefixes (replay §5). */
const BOUND_SHARE = 0.9;
/** How much one miss or one unexpected hit moves the learned bound at most, and how far it may ever go. */
const LEARN_STEP = 0.02;
const BOUND_MIN_SHARE = 0.5;

/**
 * Which prefix blocks the pool believes in one replica's cache: what was routed there, least recently used first out.
 * Chains are touched from their end to their start, so a block is always younger than what follows it and goes after
 * it: what is held of a chain is a prefix, and its length is found by bisection.
 */
export class PrefixIndex {
  /** Estimated tokens of each block, oldest first. */
  readonly #blocks = new Map<number, number>();
  #tokens = 0;
  #capacityTokens = PREFIX_CACHE_DEFAULT_TOKENS;
  #boundTokens = PREFIX_CACHE_DEFAULT_TOKENS;
  /** Grows with every change. */
  revision = 0;

  get tokens(): number {
    return this.#tokens;
  }

  get boundTokens(): number {
    return this.#boundTokens;
  }

  get size(): number {
    return this.#blocks.size;
  }

  /** The replica tells the size of its cache. What was learned about it is kept while that size stays the same. */
  sized(capacityTokens: number): void {
    if (capacityTokens === this.#capacityTokens) return;
    this.#capacityTokens = capacityTokens;
    this.#boundTokens = capacityTokens * BOUND_SHARE;
    this.#trim();
  }

  /** How many leading blocks of the chain are believed to be there. */
  hits(blocks: readonly number[]): number {
    let [low, high] = [0, blocks.length];
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (this.#blocks.has(blocks[middle]!)) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  /** The chain was sent there, or will be. */
  learn(blocks: readonly number[], blockTokens: number): void {
    this.revision += 1;
    for (let at = blocks.length - 1; at >= 0; at--) {
      const block = blocks[at]!;
      const known = this.#blocks.get(block);
      if (known !== undefined) this.#blocks.delete(block);
      this.#blocks.set(block, blockTokens);
      this.#tokens += blockTokens - (known ?? 0);
    }
    this.#trim();
  }

  /** What follows the first `kept` blocks was never sent there after all. */
  forget(blocks: readonly number[], kept: number): void {
    for (let at = blocks.length - 1; at >= kept; at--) this.#drop(blocks[at]!);
  }

  /**
   * The engine found `cachedTokens` where `believedTokens` were expected. The blocks themselves are there now, since
   * the engine has just computed them; what was wrong is how long it keeps them, so the bound moves, gently.
   */
  corrected(believedTokens: number, cachedTokens: number, promptTokens: number): void {
    const share = (cachedTokens - believedTokens) / Math.max(1, promptTokens);
    const moved = this.#boundTokens * (1 + LEARN_STEP * Math.max(-1, Math.min(1, share)));
    const [least, most] = [this.#capacityTokens * BOUND_MIN_SHARE, this.#capacityTokens];
    this.#boundTokens = Math.max(least, Math.min(most, moved));
    this.#trim();
  }

  clear(): void {
    this.revision += 1;
    this.#blocks.clear();
    this.#tokens = 0;
  }

  /** The youngest blocks, oldest first, at most `count`; and the tokens of one on average. */
  save(count: number): { boundTokens: number; blockTokens: number; blocks: Float64Array } {
    const names = [...this.#blocks.keys()].slice(-count);
    const blockTokens = this.#blocks.size === 0 ? 0 : this.#tokens / this.#blocks.size;
    return { boundTokens: this.#boundTokens, blockTokens, blocks: Float64Array.from(names) };
  }

  load(saved: { boundTokens: number; blockTokens: number; blocks: Float64Array }): void {
    this.clear();
    this.#boundTokens = saved.boundTokens;
    for (const block of saved.blocks) {
      if (this.#blocks.has(block)) continue;
      this.#blocks.set(block, saved.blockTokens);
      this.#tokens += saved.blockTokens;
    }
    this.#trim();
  }

  #trim(): void {
    if (this.#tokens <= this.#boundTokens && this.#blocks.size <= PREFIX_INDEX_BLOCKS_MAX) return;
    for (const block of this.#blocks.keys()) {
      this.#drop(block);
      if (this.#tokens <= this.#boundTokens && this.#blocks.size <= PREFIX_INDEX_BLOCKS_MAX) return;
    }
  }

  #drop(block: number): void {
    const tokens = this.#blocks.get(block);
    if (tokens === undefined) return;
    this.revision += 1;
    this.#blocks.delete(block);
    this.#tokens -= tokens;
  }
}
