import { FAIR_SLACK_TOKENS } from "../../bounds.ts";
import { BANDS } from "../messages.ts";
import { type BandShares, urgencyOf } from "./bands.ts";
import { BAND_RANK, type Entry } from "./entry.ts";
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
    const isShort = BANDS.map((band) => this.bands.isShort(band));
    const ofShort: (Place | null)[] = BANDS.map(() => null);
    let best: Place | null = null;
    for (const entry of held) {
      if (!mayGo(entry)) continue;
      const place = this.placeOf(entry);
      if (best === null || compare(place, best) < 0) best = place;
      const rank = BAND_RANK[entry.work.band];
      const other = ofShort[rank]!;
      if (isShort[rank] && (other === null || within(place, other) < 0)) ofShort[rank] = place;
    }
    return (ofShort.find((place) => place !== null) ?? best)?.entry ?? null;
  }

  /** Whether `a` goes first. */
  isBefore(a: Entry, b: Entry): boolean {
    return compare(this.placeOf(a), this.placeOf(b)) < 0;
  }

  sorted(held: Iterable<Entry>): Entry[] {
    return Array.from(held, (entry) => this.placeOf(entry))
      .sort(compare)
      .map(({ entry }) => entry);
  }

  placeOf(entry: Entry): Place {
    const { uncachedTokens, arrivedAtMs, work } = entry;
    return {
      entry,
      urgency: urgencyOf(entry, this.nowMs),
      // In steps: an order by differences that are small enough would not be transitive.
      served: Math.floor(this.fair.of(work.tenant) / FAIR_SLACK_TOKENS),
      length: uncachedTokens - AGEING_SHARE * this.tokensPerMs * (this.nowMs - arrivedAtMs),
    };
  }
}

/** What an order goes by, computed once per request and not at every comparison. */
export interface Place {
  readonly entry: Entry;
  readonly urgency: number;
  readonly served: number;
  readonly length: number;
}

/** Below 0 when `a` goes first: band, then the tenant least served, then the shortest, then who came first. */
export function compare(a: Place, b: Place): number {
  return a.urgency - b.urgency || within(a, b);
}

function within(a: Place, b: Place): number {
  return a.served - b.served || a.length - b.length || a.entry.number - b.entry.number;
}
