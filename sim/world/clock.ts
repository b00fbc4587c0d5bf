/** A party's own clock: it drifts by up to one per cent and may be stepped by its operator. */
export class Clock {
  readonly #rate: number;
  #offsetMs: number;
  readonly #worldMs: () => number;
  #latestMs = 0;

  constructor(driftPerMille: number, offsetMs: number, worldMs: () => number) {
    this.#rate = 1 + driftPerMille / 1_000;
    this.#offsetMs = offsetMs;
    this.#worldMs = worldMs;
  }

  nowMs(): number {
    const nowMs = Math.floor(this.#worldMs() * this.#rate) + this.#offsetMs;
    this.#latestMs = Math.max(this.#latestMs, nowMs);
    return nowMs;
  }

  /** The latest instant that this clock has ever shown. Refill can have happened up to it and no further. */
  latestMs(): number {
    this.nowMs();
    return this.#latestMs;
  }

  step(byMs: number): void {
    this.nowMs();
    this.#offsetMs += byMs;
  }
}
