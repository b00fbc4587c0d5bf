/**
 * What counts as a late first token: the 95th percentile of what was seen of late, as a multiple of what the pool
 * predicted, because a long prompt is not late when it takes long. Where pools predict nothing, of the time itself.
 */
export class Lateness {
  readonly #kept: number[] = [];
  readonly #max: number;
  readonly #least: number;
  #next = 0;

  /** @param kept how many count @param least below so many nothing is late */
  constructor(kept: number, least: number) {
    this.#max = kept;
    this.#least = least;
  }

  seen(firstTokenMs: number, predictedMs: number | null): void {
    const ratio = Math.max(0, firstTokenMs) / expected(predictedMs);
    if (!Number.isFinite(ratio)) return;
    this.#kept[this.#next] = ratio;
    this.#next = (this.#next + 1) % this.#max;
  }

  /** Milliseconds after which a first token that was predicted so is late; null: not enough is known. */
  afterMs(predictedMs: number | null): number | null {
    if (this.#kept.length < this.#least) return null;
    const sorted = [...this.#kept].sort((one, other) => one - other);
    return sorted[Math.min(sorted.length - 1, Math.ceil(0.95 * sorted.length) - 1)]! * expected(predictedMs);
  }
}

/** Predictions below this are noise of a clock that ticks in milliseconds. */
const LEAST_EXPECTED_MS = 10;
/** Any constant serves, where there is no prediction. */
const UNPREDICTED_MS = 1_000;

function expected(predictedMs: number | null): number {
  return predictedMs === null ? UNPREDICTED_MS : Math.max(LEAST_EXPECTED_MS, predictedMs);
}
