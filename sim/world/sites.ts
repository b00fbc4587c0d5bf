import { type BudgetPlace, shardAt } from "../../src/catalogue.ts";
import type { Random } from "./random.ts";
import type { Setting } from "./schedule.ts";
import { PLACES } from "./tenant.ts";

const LOCAL_MS = 2;
const OCEAN_MS = 80;

/**
 * Where objects are. They are numbered by location, the home's first, and then by location again for each further shard; so
 * the first of a location has the number of its clients, isolate and gate.
 */
export class Sites {
  readonly regions: number;
  readonly #shards: number;
  readonly #random: Random;

  constructor({ holders, shards }: Setting, random: Random) {
    this.regions = holders + 1;
    this.#shards = shards;
    this.#random = random;
  }

  regionOf(at: number): number {
    return at % this.regions;
  }

  place(at: number): BudgetPlace {
    return shardAt(PLACES[this.regionOf(at)]!, Math.floor(at / this.regions));
  }

  indexOf(place: BudgetPlace): number {
    for (let at = 0; at < this.regions * this.#shards; at += 1) if (this.place(at) === place) return at;
    throw new Error(`sites: nothing is at ${place}`);
  }

  latencyMs(one: number, other: number): number {
    return this.regionOf(one) === this.regionOf(other) ? LOCAL_MS : OCEAN_MS;
  }

  /** One of the objects that share a location. */
  anyOf(region: number): number {
    return this.#shards === 1 ? region : region + this.regions * this.#random.int(0, this.#shards - 1);
  }
}
