/** Small deterministic hashes. None is cryptographic: they choose words and name cache blocks. */

/** One round of murmur3's mixing: folds `value` into the 32-bit state `hash`. */
export function mix(hash: number, value: number): number {
  let k = Math.imul(value, 0xcc9e2d51);
  k = (k << 15) | (k >>> 17);
  let h = hash ^ Math.imul(k, 0x1b873593);
  h = (h << 13) | (h >>> 19);
  return (Math.imul(h, 5) + 0xe6546b64) | 0;
}

/** murmur3's finalizer: spreads `hash` over 32 bits, unsigned. */
export function spread(hash: number): number {
  let h = hash ^ (hash >>> 16);
  h = Math.imul(h, 0x85ebca6b);
  h ^= h >>> 13;
  h = Math.imul(h, 0xc2b2ae35);
  return (h ^ (h >>> 16)) >>> 0;
}

/** 32-bit hash of a string. */
export function hashText(text: string): number {
  let hash = 0x9747b28c;
  for (let i = 0; i < text.length; i++) hash = mix(hash, text.charCodeAt(i));
  return spread(hash);
}

/**
 * Names of the full blocks of a token sequence, each depending on all tokens before it and on the salt, as
 * vLLM's prefix cache names them. 53 bits: a clash among a million blocks has a chance of one in 10^4.
 */
export class BlockHasher {
  readonly #blockTokens: number;
  #low: number;
  #high: number;
  #filled = 0;

  constructor(blockTokens: number, salt = "") {
    this.#blockTokens = blockTokens;
    this.#low = hashText(salt);
    this.#high = hashText(`${salt}#`);
  }

  /** Adds one token; answers the block's name when it completes one. */
  push(id: number): number | undefined {
    this.#low = mix(this.#low, id);
    this.#high = mix(this.#high, id ^ 0x5bd1e995);
    this.#filled++;
    if (this.#filled % this.#blockTokens !== 0) return undefined;
    return spread(this.#low) * 0x200000 + (spread(this.#high) >>> 11);
  }

  /** Adds many tokens; answers the names of the blocks completed, in order. */
  pushAll(ids: Iterable<number>): number[] {
    const names: number[] = [];
    for (const id of ids) {
      const name = this.push(id);
      if (name !== undefined) names.push(name);
    }
    return names;
  }
}
