import { describe, expect, it } from "vitest";
import type { Pool } from "../../../src/catalogue.ts";
import { roomElsewhere } from "../../../src/routing/elsewhere.ts";
import type { PoolState } from "../../../src/routing/messages.ts";

const state = (pool: string, capacity: number, inUse: number, more: Partial<PoolState> = {}): PoolState => ({
  ...{ pool, model: "m", epoch: 1, atMs: 0, replicas: [], waiting: 0, colo: null, capacity, inUse },
  ...more,
});
const room = (states: PoolState[], pools: Partial<Pool>[] = []) =>
  roomElsewhere("here", "m", states, pools as Pool[]);

describe("room elsewhere", () => {
  it("is where another pool has a permit left and half of the capacity serves on", () => {
    expect(room([state("here", 4, 4), state("there", 4, 3)])).toBe(true);
  });

  it("is not in the last pool, nor where the others are full", () => {
    expect(room([state("here", 4, 4)])).toBe(false);
    expect(room([state("here", 4, 4), state("there", 4, 4)])).toBe(false);
    expect(room([state("here", 4, 4), state("there", 4, 3, { waiting: 1 })])).toBe(false);
  });

  it("is not where more than half of the capacity would be out", () => {
    expect(room([state("here", 8, 8), state("there", 4, 0)])).toBe(false);
    const third = state("third", 4, 0, { breaker: "open" });
    expect(room([state("here", 4, 4), state("there", 4, 0), third])).toBe(false);
  });

  it("is not in a pool that is drained, serves another model or is out itself", () => {
    expect(room([state("here", 4, 4), state("there", 4, 0)], [{ id: "there", drained: true }])).toBe(false);
    expect(room([state("here", 4, 4), state("there", 4, 0, { model: "other" })])).toBe(false);
    expect(room([state("here", 4, 4), state("there", 4, 0, { breaker: "half_open" })])).toBe(false);
  });
});
