/**
 * The KV cache as vLLM keeps it: a fixed number of blocks, named by the tokens they hold once full, shared by
 * reference count. A block that nobody uses keeps its content until it is needed, oldest first.
 */
export class BlockCache {
  readonly totalBlocks: number;
  /** References by block name; idle blocks have none and are in `#idle` instead. */
  readonly #used = new Map<number, number>();
  /** Insertion order is eviction order. */
  readonly #idle = new Set<number>();
  /** Blocks in use that are not full yet and so have no name. */
  #unnamed = 0;

  constructor(totalBlocks: number) {
    if (!(totalBlocks > 0)) throw new Error("a cache needs at least one block");
    this.totalBlocks = totalBlocks;
  }

  get usedBlocks(): number {
    return this.#used.size + this.#unnamed;
  }

  /** Blocks that can be had, counting those that would be evicted. */
  get freeBlocks(): number {
    return this.totalBlocks - this.usedBlocks;
  }

  inUse(name: number): boolean {
    return this.#used.has(name);
  }

  /** How many leading blocks of `names` are held. */
  match(names: readonly number[]): number {
    let hits = 0;
    while (hits < names.length && this.#holds(names[hits]!)) hits++;
    return hits;
  }

  /** Takes a named block into use; evicts the oldest idle block where it is not held yet. False: no room. */
  take(name: number): boolean {
    const references = this.#used.get(name);
    if (references !== undefined) {
      this.#used.set(name, references + 1);
      return true;
    }
    if (!this.#idle.delete(name) && !this.#makeRoom()) return false;
    this.#used.set(name, 1);
    return true;
  }

  /** Takes a block that is still being filled. False: no room. */
  takeUnnamed(): boolean {
    if (!this.#makeRoom()) return false;
    this.#unnamed++;
    return true;
  }

  /** The block being filled is full now and gets its name; a twin that exists already takes its place. */
  name(name: number): void {
    this.#unnamed--;
    if (!this.take(name)) throw new Error("a block that was just given up must be free");
    this.#check();
  }

  /** Gives blocks back. The last of a sequence is the first to be evicted, as the least shareable. */
  release(names: readonly number[], unnamed: number): void {
    for (let i = names.length - 1; i >= 0; i--) {
      const name = names[i]!;
      const references = this.#used.get(name);
      if (references === undefined) throw new Error(`block ${name} is not in use`);
      if (references > 1) {
        this.#used.set(name, references - 1);
      } else {
        this.#used.delete(name);
        this.#idle.add(name);
      }
    }
    this.#unnamed -= unnamed;
    this.#check();
  }

  #holds(name: number): boolean {
    return this.#used.has(name) || this.#idle.has(name);
  }

  #makeRoom(): boolean {
    if (this.freeBlocks <= 0) return false;
    if (this.usedBlocks + this.#idle.size < this.totalBlocks) return true;
    const [oldest] = this.#idle;
    if (oldest === undefined) throw new Error("a free block must be idle or empty");
    this.#idle.delete(oldest);
    return true;
  }

  #check(): void {
    if (this.#unnamed < 0 || this.usedBlocks > this.totalBlocks)
      throw new Error("block accounts do not add up");
  }
}
