/**
 * A fast hash of 53 bits, two lanes of multiply and xor; no secret keeps it from being guessed, so what must not be
 * guessed is salted. Names of equal things are equal everywhere and over restarts.
 */
export interface HashState {
  a: number;
  b: number;
}

export function hashStart(salt: string): HashState {
  const state = { a: 0xdeadbeef | 0, b: 0x41c6ce57 | 0 };
  hashMore(state, salt, 0, salt.length);
  return state;
}

/** Takes in the text's UTF-16 units from `from` to before `to`. */
export function hashMore(state: HashState, text: string, from: number, to: number): void {
  let { a, b } = state;
  for (let at = from; at < to; at++) {
    const unit = text.charCodeAt(at);
    a = Math.imul(a ^ unit, 0x9e3779b1);
    b = Math.imul(b ^ unit, 0x5f356495);
    // Both lanes see each other, or units above the low bits would never reach the result's low bits.
    a = (a ^ (b >>> 15)) | 0;
    b = (b ^ (a >>> 13)) | 0;
  }
  state.a = a;
  state.b = b;
}

/** A whole number from 0 to 2^53 − 1; the state may go on afterwards. */
export function hashEnd(state: HashState): number {
  let { a, b } = state;
  a = Math.imul(a ^ (a >>> 16), 0x85ebca6b) ^ Math.imul(b ^ (b >>> 13), 0xc2b2ae35);
  b = Math.imul(b ^ (b >>> 16), 0x85ebca6b) ^ Math.imul(a ^ (a >>> 13), 0xc2b2ae35);
  return (b & 0x1fffff) * 0x1_0000_0000 + (a >>> 0);
}

export function hashOf(text: string, salt = ""): number {
  const state = hashStart(salt);
  hashMore(state, text, 0, text.length);
  return hashEnd(state);
}
