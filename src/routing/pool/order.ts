import { FAIR_SLACK_TOKENS } from "../../bounds.ts";
import { BANDS } from "../messages.ts";
import type { BandShares } from "./bands.ts";
import { urgencyOf } from "./bands.ts";
import type { Entry } from "./entry.ts";
import type { FairShares } from "./fairness.ts";

/**
 * A request that has waited is taken for shorter by this share of the tokens that its replica computed meanwhile: who
 * came that much earlier goes before a shorter one, so a long prompt waits at most its own length × 1/share longer.
 */
const AGEING_SHARE = 0.25;

/** Held requests in the order in which their replica would take them. */
export class Order {
  readonly bands: BandShares;
  readonly fair: FairShares;
  readonly tokensPerMs: number;
  readonly nowMs: number;

  constructor(bands: BandShares, fair: FairShares, tokensPerMs: number, nowMs: number) {
    [this.bands, this.fair, this.tokensPerMs, this.nowMs] = [bands, fair, tokensPerMs, nowMs];
  }

  /** The one to send next, or null when none may go. */
  next(held: Iterable<Entry>, mayGo: (entry: Entry) => boolean): Entry | null {
    let best: Entry | null = null;
    const going = [...held].filter(mayGo);
    for (const band of BANDS) {
      if (!this.bands.isShort(band)) continue;
      for (const entry of going) {
        if (entry.work.band === band && (best === null || this.#within(entry, best) < 0)) best = entry;
      }
      if (best !== null) return best;
    }
    for (const entry of going) if (best === null || this.compare(entry, best) < 0) best = entry;
    return best;
  }

  /** Below 0 when `a` goes first: band, then the tenant least served, then the shortest, then who came first. */
  compare(a: Entry, b: Entry): number {
    return urgencyOf(a, this.nowMs) - urgencyOf(b, this.nowMs) || this.#within(a, b);
  }

  #within(a: Entry, b: Entry): number {
    const byTenant = this.#served(a) - this.#served(b);
    return byTenant || this.#length(a) - this.#length(b) || a.number - b.number;
  }

  /** In steps: an order by differences that are small enough would not be transitive. */
  #served({ work: { tenant } }: Entry): number {
    return Math.floor(this.fair.of(tenant) / FAIR_SLACK_TOKENS);
  }

  #length({ uncachedTokens, arrivedAtMs }: Entry): number {
    return uncachedTokens - AGEING_SHARE * this.tokensPerMs * (this.nowMs - arrivedAtMs);
  }
}
