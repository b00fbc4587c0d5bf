import { BANDS, type Band } from "../messages.ts";
import { BAND_RANK, type Entry } from "./entry.ts";

/** Share of the tokens sent that a band gets while it waits, however urgent the others; the first takes the rest. */
const RESERVED: Readonly<Record<Band, number>> = { interactive: 0, default: 0.2, batch: 0.05 };
/** After that long in the queue a request counts one band more urgent, after twice that long two. */
const AGEING_MS: Readonly<Record<Band, number>> = { interactive: 5_000, default: 5_000, batch: 10_000 };
/** Shares are kept over about so many tokens. */
const WINDOW_TOKENS = 131_072;

/** Urgency now, 0 is the most; waiting raises it. */
export function urgencyOf({ work: { band }, arrivedAtMs }: Entry, nowMs: number): number {
  return urgencyAt(band, arrivedAtMs, nowMs);
}

export function urgencyAt(band: Band, arrivedAtMs: number, nowMs: number): number {
  const raised = Math.floor(Math.max(0, nowMs - arrivedAtMs) / AGEING_MS[band]);
  return Math.max(0, BAND_RANK[band] - raised);
}

/** What each band was sent of late, for the shares reserved for the less urgent. */
export class BandShares {
  readonly #sent: Record<Band, number> = { interactive: 0, default: 0, batch: 0 };
  #total = 0;
  readonly #windowTokens: number;

  constructor(windowTokens = WINDOW_TOKENS) {
    this.#windowTokens = windowTokens;
  }

  sent(band: Band, tokens: number): void {
    this.#sent[band] += tokens;
    this.#total += tokens;
    if (this.#total <= this.#windowTokens) return;
    for (const one of BANDS) this.#sent[one] /= 2;
    this.#total /= 2;
  }

  /** Share of the tokens sent that went to more urgent requests than `batch`, 0 … 1. */
  urgentShare(): number {
    return this.#total === 0 ? 0 : (this.#total - this.#sent.batch) / this.#total;
  }

  /** It has been sent less than its reserved share. */
  isShort(band: Band): boolean {
    return this.#sent[band] < RESERVED[band] * this.#total;
  }
}
