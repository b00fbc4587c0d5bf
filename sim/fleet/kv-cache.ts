/**
 * The KV memory of one replica in units of the trace's blocks: what runs is pinned on the GPU, what does not is kept
 * there until its room is needed, and then, where there is a host tier, in the host's memory. Least recently used goes
 * first, and of one prompt its end, as in vLLM. Lists run through arrays, so that a million touches cost no garbage.
 */
const NOWHERE = 0;
/** Pinned by a sequence that has not computed it yet. */
const PLANNED = 1;
const GPU = 2;
const HOST = 3;

export class KvCache {
  readonly gpuTokens: number;
  readonly #hostTokens: number;
  readonly #sizes: Int32Array;
  readonly #tier: Uint8Array;
  readonly #pins: Uint16Array;
  readonly #gpu: Lru;
  readonly #host: Lru;
  /** Of blocks that sequences hold, and of what they will generate. */
  #pinnedTokens = 0;
  #idleGpuTokens = 0;
  #idleHostTokens = 0;

  constructor(sizes: Int32Array, gpuTokens: number, hostTokens: number) {
    this.gpuTokens = gpuTokens;
    this.#hostTokens = hostTokens;
    this.#sizes = sizes;
    this.#tier = new Uint8Array(sizes.length);
    this.#pins = new Uint16Array(sizes.length);
    const links = { next: new Int32Array(sizes.length), previous: new Int32Array(sizes.length) };
    // One pair of links serves both lists: no block is in both.
    this.#gpu = new Lru(links);
    this.#host = new Lru(links);
  }

  get pinnedTokens(): number {
    return this.#pinnedTokens;
  }

  /** Tokens of the leading blocks that are held, on either tier. */
  cachedTokens(blocks: readonly number[]): number {
    let tokens = 0;
    for (const block of blocks) {
      if (this.#tier[block]! < GPU) break;
      tokens += this.#sizes[block]!;
    }
    return tokens;
  }

  /** Pins a prompt's blocks and `outputTokens` of room for its answer. False, and nothing changed: no room. */
  pin(blocks: readonly number[], outputTokens: number): boolean {
    let needed = outputTokens;
    for (const block of blocks) if (this.#pins[block] === 0) needed += this.#sizes[block]!;
    if (this.#pinnedTokens + needed > this.gpuTokens) return false;
    for (const block of blocks) {
      if (this.#pins[block]! === 0) this.#leaveList(block);
      this.#pins[block]! += 1;
    }
    this.#pinnedTokens += needed;
    while (this.#pinnedTokens + this.#idleGpuTokens > this.gpuTokens) this.#demote();
    return true;
  }

  /** The first `tokens` of a pinned prompt are computed: other prompts may use them from now on. */
  computed(blocks: readonly number[], fromTokens: number, tokens: number): void {
    let end = 0;
    for (const block of blocks) {
      end += this.#sizes[block]!;
      if (end > tokens) return;
      if (end > fromTokens) this.#tier[block] = GPU;
    }
  }

  unpin(blocks: readonly number[], outputTokens: number): void {
    this.#pinnedTokens -= outputTokens;
    for (let at = blocks.length - 1; at >= 0; at -= 1) {
      const block = blocks[at]!;
      this.#pins[block]! -= 1;
      if (this.#pins[block]! > 0) continue;
      this.#pinnedTokens -= this.#sizes[block]!;
      if (this.#tier[block] === PLANNED) this.#tier[block] = NOWHERE;
      else {
        this.#gpu.push(block);
        this.#idleGpuTokens += this.#sizes[block]!;
      }
    }
    if (this.#pinnedTokens < 0) throw new Error("kv cache: more was given back than was pinned");
  }

  /** As after a restart of the engine. */
  clear(): void {
    this.#tier.fill(NOWHERE);
    this.#pins.fill(0);
    this.#gpu.clear();
    this.#host.clear();
    this.#pinnedTokens = 0;
    this.#idleGpuTokens = 0;
    this.#idleHostTokens = 0;
  }

  /** An unpinned block on its way to being pinned; what the host tier holds is copied back, in no time. */
  #leaveList(block: number): void {
    const tier = this.#tier[block]!;
    if (tier === NOWHERE) this.#tier[block] = PLANNED;
    if (tier === GPU) {
      this.#gpu.remove(block);
      this.#idleGpuTokens -= this.#sizes[block]!;
    }
    if (tier === HOST) {
      this.#host.remove(block);
      this.#idleHostTokens -= this.#sizes[block]!;
      this.#tier[block] = GPU;
    }
  }

  #demote(): void {
    const block = this.#gpu.shift();
    const tokens = this.#sizes[block]!;
    this.#idleGpuTokens -= tokens;
    if (this.#hostTokens === 0) {
      this.#tier[block] = NOWHERE;
      return;
    }
    this.#tier[block] = HOST;
    this.#host.push(block);
    this.#idleHostTokens += tokens;
    while (this.#idleHostTokens > this.#hostTokens) {
      const oldest = this.#host.shift();
      this.#idleHostTokens -= this.#sizes[oldest]!;
      this.#tier[oldest] = NOWHERE;
    }
  }
}

interface Links {
  readonly next: Int32Array;
  readonly previous: Int32Array;
}

const END = -1;

/** A list of blocks, the one that was longest not used at its front. */
class Lru {
  readonly #links: Links;
  #front = END;
  #back = END;

  constructor(links: Links) {
    this.#links = links;
  }

  push(block: number): void {
    const { next, previous } = this.#links;
    previous[block] = this.#back;
    next[block] = END;
    if (this.#back === END) this.#front = block;
    else next[this.#back] = block;
    this.#back = block;
  }

  remove(block: number): void {
    const { next, previous } = this.#links;
    const [before, after] = [previous[block]!, next[block]!];
    if (before === END) this.#front = after;
    else next[before] = after;
    if (after === END) this.#back = before;
    else previous[after] = before;
  }

  shift(): number {
    const block = this.#front;
    if (block === END) throw new Error("kv cache: nothing left to evict");
    this.remove(block);
    return block;
  }

  clear(): void {
    this.#front = END;
    this.#back = END;
  }
}

/** Hits of one cache that all replicas would share, in the order of arrival: what no placement can do better. */
export function pooledHitTokens(
  prompts: readonly { readonly blocks: readonly number[]; readonly promptTokens: number }[],
  sizes: Int32Array,
  tokens: number,
): number {
  const cache = new KvCache(sizes, Math.max(tokens, 0), 0);
  let hits = 0;
  for (const { blocks, promptTokens } of prompts) {
    hits += usableTokens(cache.cachedTokens(blocks), promptTokens);
    if (!cache.pin(blocks, 0)) throw new Error("a prompt is larger than the pooled cache");
    cache.computed(blocks, 0, promptTokens);
    cache.unpin(blocks, 0);
  }
  return hits;
}

/** vLLM keeps whole blocks of 16 tokens and computes at least the last token of every prompt itself. */
const ENGINE_BLOCK_TOKENS = 16;

export function usableTokens(cachedTokens: number, promptTokens: number): number {
  if (cachedTokens < promptTokens) return cachedTokens;
  return Math.floor((promptTokens - 1) / ENGINE_BLOCK_TOKENS) * ENGINE_BLOCK_TOKENS;
}
