import { UNITS_PER_TOKEN } from "../../src/limits/bucket.ts";

/**
 * I2 over every interval at once: for all s < e, tokens made in (s, e] ≤ bucket at s + refill in (s, e] + overrun in
 * (s, e]. With X = made − refill − overrun this says X(e) ≤ X(s) + bucket(s), so keeping the smallest X(s) + bucket(s)
 * checks all intervals that end now in one comparison. In units of 1/60,000 token, exact.
 */
export class Intervals {
  #atUnits = 0;
  #leastUnits = Infinity;
  /** The same for intervals that begin after the last `settle`. */
  #newLeastUnits = Infinity;

  /**
   * Time passed: the home can have refilled this much. Below zero: its clock stepped back before it did, so at no instant
   * since the last `settle` was that much refilled; what began since then has that much more to come.
   */
  refilled(units: number): void {
    this.#atUnits -= units;
    if (units < 0) this.#newLeastUnits -= units;
  }

  /** What was refilled so far is so for good. */
  settle(): void {
    this.#leastUnits = Math.min(this.#leastUnits, this.#newLeastUnits);
    this.#newLeastUnits = Infinity;
  }

  overran(tokens: number): void {
    this.#atUnits -= tokens * UNITS_PER_TOKEN;
  }

  /** `bucketTokens`: the most that can be spent from here on without refill. Returns by how much it was exceeded. */
  made(tokens: number, overrunTokens: number, bucketTokens: number): number {
    this.mark(bucketTokens);
    this.#atUnits += (tokens - overrunTokens) * UNITS_PER_TOKEN;
    const leastUnits = Math.min(this.#leastUnits, this.#newLeastUnits);
    return Math.max(0, (this.#atUnits - leastUnits) / UNITS_PER_TOKEN);
  }

  /** An instant at which an interval may begin that no later instant stands for, as the bucket changes now. */
  mark(bucketTokens: number): void {
    this.#newLeastUnits = Math.min(this.#newLeastUnits, this.#atUnits + bucketTokens * UNITS_PER_TOKEN);
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
