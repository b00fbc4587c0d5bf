import { SHARDS_MAX } from "../bounds.ts";
import { LOCATION_HINTS, type LocationHint } from "./names.ts";

/**
 * Where one of a tenant's budget objects lives: `enam` is a location's own, `enam#1` the next beside it, for a tenant too
 * hot for one (limits/shards.ts).
 */
export type BudgetPlace = LocationHint | `${LocationHint}#${number}`;

/** Shard 0 is the location's own object. */
export function shardAt(hint: LocationHint, shard: number): BudgetPlace {
  return shard === 0 ? hint : `${hint}#${shard}`;
}

/** The location of a place, which is its hint as well. */
export function locationOf(place: BudgetPlace): LocationHint {
  return place.split("#", 1)[0] as LocationHint;
}

/** Which of its location's objects a place is. */
export function shardOf(place: BudgetPlace): number {
  return Number(place.split("#", 2)[1] ?? 0);
}

/** Null: there is no such place. A name that nobody asks by would be an object of its own, outside of every sum. */
export function placeFrom(text: string): BudgetPlace | null {
  return PLACES.has(text) ? (text as BudgetPlace) : null;
}

const PLACES: ReadonlySet<string> = new Set(
  LOCATION_HINTS.flatMap((hint) => Array.from({ length: SHARDS_MAX }, (_, shard) => shardAt(hint, shard))),
);
