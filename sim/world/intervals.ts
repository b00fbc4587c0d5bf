import { UNITS_PER_TOKEN } from "../../src/limits/bucket.ts";

/**
 * I2 over every interval at once: for all s < e, tokens made in (s, e] ≤ bucket at s + refill in (s, e] + overrun in
 * (s, e]. With X = made − refill − overrun this says X(e) ≤ X(s) + bucket(s), so keeping the smallest X(s) + bucket(s)
 * checks all intervals that end now in one comparison. In units of 1/60,000 token, exact.
 */
export class Intervals {
  #atUnits = 0;
  #leastUnits = Infinity;

  /** Time passed: the home's clock can have refilled this much. */
  refilled(units: number): void {
    this.#atUnits -= units;
  }

  overran(tokens: number): void {
    this.#atUnits -= tokens * UNITS_PER_TOKEN;
  }

  /** `bucketTokens`: the most that can be spent from here on without refill. Returns by how much it was exceeded. */
  made(tokens: number, overrunTokens: number, bucketTokens: number): number {
    this.#leastUnits = Math.min(this.#leastUnits, this.#atUnits + bucketTokens * UNITS_PER_TOKEN);
    this.#atUnits += (tokens - overrunTokens) * UNITS_PER_TOKEN;
    return Math.max(0, (this.#atUnits - this.#leastUnits) / UNITS_PER_TOKEN);
  }

  /** An instant at which an interval may begin that no later instant stands for, as the bucket changes now. */
  mark(bucketTokens: number): void {
    this.#leastUnits = Math.min(this.#leastUnits, this.#atUnits + bucketTokens * UNITS_PER_TOKEN);
  }
}

/** Sums of a sliding window of one length. */
export class Sliding {
  readonly #lengthMs: number;
  readonly #entries: { readonly atMs: number; readonly tokens: number }[] = [];
  #first = 0;
  sum = 0;

  constructor(lengthMs: number) {
    this.#lengthMs = lengthMs;
  }

  add(atMs: number, tokens: number): void {
    this.#entries.push({ atMs, tokens });
    this.sum += tokens;
  }

  /** The sum over (`nowMs` − length, `nowMs`]. */
  at(nowMs: number): number {
    for (let entry = this.#entries[this.#first]; entry; entry = this.#entries[++this.#first]) {
      if (entry.atMs > nowMs - this.#lengthMs) break;
      this.sum -= entry.tokens;
    }
    return this.sum;
  }
}
