/** Mixes an integer well enough for rings and seeds (the finaliser of MurmurHash3, public domain); 32 bits. */
export function mix32(value: number): number {
  let mixed = value | 0;
  mixed = Math.imul(mixed ^ (mixed >>> 16), 0x85ebca6b);
  mixed = Math.imul(mixed ^ (mixed >>> 13), 0xc2b2ae35);
  return (mixed ^ (mixed >>> 16)) >>> 0;
}

/** A number from 0 to 1 that depends on all of its arguments and on nothing else. */
export function dice(...of: readonly number[]): number {
  let state = 0x9e3779b9;
  for (const part of of) state = mix32(state ^ mix32(part + 0x7f4a7c15));
  return state / 2 ** 32;
}

/** A block's name as edges make them: a whole number from 0 to 2^53 − 1. */
export function name53(block: number): number {
  return (mix32(block ^ 0x5bd1e995) & 0x1fffff) * 2 ** 32 + mix32(block ^ 0x1b873593);
}
