/** Seeds that a worker plays before it asks for more: a second of work or so, so that none is left with much at the end. */
const PART_SEEDS = 32;

/** Seeds from `first` on. */
export interface Part {
  readonly first: number;
  readonly count: number;
}

/** What workers that hunt together share: all of it is in one buffer. */
export interface HuntState extends Part {
  readonly shared: SharedArrayBuffer;
}

const NEXT_PART = 0;
const PLAYED = 1;
/** How far from the first seed the smallest one is that broke something; the count of seeds while none did. */
const LOWEST = 2;
const FIELDS = 3;

/**
 * Many workers look for the smallest seed whose schedule breaks something. Parts are handed out in order, and one that is
 * begun is played up to the smallest seed known to fail: so every seed below that one has been played, and what is found does
 * not depend on how many workers there are or how fast each is.
 */
export class Hunt {
  readonly state: HuntState;
  readonly #fields: Int32Array;

  constructor(state: HuntState) {
    this.state = state;
    this.#fields = new Int32Array(state.shared);
  }

  static over(first: number, count: number): Hunt {
    const shared = new SharedArrayBuffer(FIELDS * Int32Array.BYTES_PER_ELEMENT);
    new Int32Array(shared)[LOWEST] = count;
    return new Hunt({ first, count, shared });
  }

  /** How many workers there is work for. */
  get parts(): number {
    return Math.ceil(this.state.count / PART_SEEDS);
  }

  get played(): number {
    return Atomics.load(this.#fields, PLAYED);
  }

  /** The smallest seed that failed so far, or null. */
  get lowest(): number | null {
    const { first, count } = this.state;
    const offset = Atomics.load(this.#fields, LOWEST);
    return offset === count ? null : first + offset;
  }

  /** The next seeds to play, which nobody else is given; null: nothing below the smallest failure is left. */
  take(): Part | null {
    const { first, count } = this.state;
    const offset = Atomics.add(this.#fields, NEXT_PART, 1) * PART_SEEDS;
    if (offset >= Atomics.load(this.#fields, LOWEST)) return null;
    return { first: first + offset, count: Math.min(PART_SEEDS, count - offset) };
  }

  /** Seeds for one worker to play, each of which it then says to have `passed` or `failed`. */
  *seeds(): Generator<number> {
    for (let part = this.take(); part !== null; part = this.take()) {
      for (let seed = part.first; seed < part.first + part.count; seed += 1) {
        if (seed - this.state.first >= Atomics.load(this.#fields, LOWEST)) return;
        yield seed;
      }
    }
  }

  passed(): void {
    Atomics.add(this.#fields, PLAYED, 1);
  }

  failed(seed: number): void {
    const offset = seed - this.state.first;
    let known = Atomics.load(this.#fields, LOWEST);
    while (offset < known) {
      const found = Atomics.compareExchange(this.#fields, LOWEST, known, offset);
      if (found === known) return;
      known = found;
    }
  }
}
