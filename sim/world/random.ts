/** A small seeded generator (the "mulberry" step of Tommy Ettinger, public domain): same seed, same world. */
export interface Random {
  /** An integer from `least` to `most`, both included. */
  int(least: number, most: number): number;
  /** True `perMille` times in a thousand. */
  chance(perMille: number): boolean;
  pick<T>(options: readonly T[]): T;
}

export function randomFrom(seed: number): Random {
  let state = (seed ^ 0x9e3779b9) >>> 0;
  const next = (): number => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
  const int = (least: number, most: number) => least + Math.floor(next() * (most - least + 1));
  return {
    int,
    chance: (perMille) => next() * 1_000 < perMille,
    pick: (options) => options[int(0, options.length - 1)]!,
  };
}
