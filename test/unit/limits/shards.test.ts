import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { SHARDS_MAX } from "../../../src/bounds.ts";
import { LOCATION_HINTS, locationOf, placeFrom, shardAt } from "../../../src/catalogue.ts";
import {
  OBJECT_ASKED_PER_SECOND,
  OBJECT_DRAWN_PER_SECOND,
  SHARD_COOL_MS,
  SHARD_SETTLE_MS,
} from "../../../src/limits/bounds.ts";
import { COLD, type Heat, heated, shardOf } from "../../../src/limits/shards.ts";

const STEP_MS = 100;

/** Isolates that follow at once: the location's own object serves its even part of `load` (1: all that one object can). */
function under(load: number, seconds: number, from: { heat: Heat; nowMs: number }, asked = 1) {
  let { heat, nowMs } = from;
  const seen = new Set<number>();
  for (let ms = 0; ms < seconds * 1_000; ms += STEP_MS) {
    nowMs += STEP_MS;
    const part = (load * STEP_MS) / 1_000 / heat.shards;
    const work = {
      asked: part * OBJECT_ASKED_PER_SECOND * asked,
      drawn: part * OBJECT_DRAWN_PER_SECOND * (1 - asked),
    };
    heat = heated(heat, work, nowMs);
    seen.add(heat.shards);
  }
  return { heat, nowMs, seen: [...seen] };
}

const START = { heat: COLD, nowMs: 1_000_000 };

describe("how many objects share a location's requests", () => {
  it("is one below half of what one was measured to do, and two above", () => {
    expect(under(0.45, 300, START).seen).toEqual([1]);
    expect(under(0.55, 300, START).heat.shards).toBe(2);
  });

  it("counts a request out of a block for what it costs", () => {
    expect(under(0.45, 300, START, 0).seen).toEqual([1]);
    expect(under(0.55, 300, START, 0).heat.shards).toBe(2);
  });

  it("doubles once per wave and up to the bound", () => {
    const first = under(3, SHARD_SETTLE_MS / 1_000 - 1, START);
    expect(first.seen).toEqual([1, 2]);
    expect(under(3, 60, first).heat.shards).toBe(8);
    expect(under(100, 600, START).heat.shards).toBe(SHARDS_MAX);
  });

  it("rests under any steady load: what was doubled is not halved again", () => {
    fc.assert(
      fc.property(
        fc.double({ min: 0, max: 10, noNaN: true }),
        fc.double({ min: 0, max: 1, noNaN: true }),
        (load, asked) => {
          const settled = under(load, 120, START, asked);
          expect(under(load, 300, settled, asked).seen).toEqual([settled.heat.shards]);
        },
      ),
      { numRuns: 30 },
    );
  });

  it("is given up one halving at a time when it was cool for long, and by a pause not at once", () => {
    const hot = under(3, 120, START);
    const cool = under(0.01, SHARD_COOL_MS / 1_000 - 1, hot);
    expect(cool.heat.shards).toBe(8);
    expect(under(0.01, 600, cool).seen).toEqual([8, 4, 2, 1]);
    expect(heated(hot.heat, { asked: 1, drawn: 0 }, hot.nowMs + 30_000).shards).toBe(8);
  });

  it("goes on when the object's clock steps back", () => {
    const hot = under(0.55, 60, START);
    expect(hot.heat.shards).toBe(2);
    const back = { ...hot, nowMs: hot.nowMs - 3_600_000 };
    expect(under(0.01, 2 * (SHARD_COOL_MS / 1_000), back).heat.shards).toBe(1);
    expect(under(3, 60, back).heat.shards).toBe(8);
  });

  it("is a power of two within the bound, whatever comes", () => {
    const steps = fc.array(
      fc.record({
        asked: fc.nat(50_000),
        drawn: fc.nat(50_000),
        afterMs: fc.integer({ min: -60_000, max: 120_000 }),
      }),
      { maxLength: 60 },
    );
    fc.assert(
      fc.property(steps, (works) => {
        let heat = COLD;
        let nowMs = 1_000_000;
        for (const { afterMs, ...work } of works) {
          nowMs += afterMs;
          const next = heated(heat, work, nowMs);
          expect([1, 2, 4, 8]).toContain(next.shards);
          expect([0.5, 1, 2]).toContain(next.shards / heat.shards);
          heat = next;
        }
      }),
    );
  });
});

describe("an isolate's shard", () => {
  const isolate = fc.nat(2 ** 32 - 1);

  it("stays, or moves to the new half when there are twice as many", () => {
    fc.assert(
      fc.property(isolate, fc.constantFrom(1, 2, 4), (number, shards) => {
        const before = shardOf(number, shards);
        expect([before, before + shards]).toContain(shardOf(number, shards * 2));
      }),
    );
  });

  it("is one that exists, also when an object of another version says more", () => {
    fc.assert(
      fc.property(isolate, fc.integer({ min: 1, max: 1_000 }), (number, shards) => {
        expect(shardOf(number, shards)).toBeLessThan(Math.min(shards, SHARDS_MAX));
      }),
    );
  });

  it("is spread evenly over all of them", () => {
    const counts = Array.from({ length: 8 }, () => 0);
    const numbers = crypto.getRandomValues(new Uint32Array(16_000));
    for (const number of numbers) counts[shardOf(number, 8)]! += 1;
    // 2,000 each, standard deviation 42.
    for (const count of counts) expect(Math.abs(count - 2_000)).toBeLessThan(300);
  });
});

describe("a budget object's place", () => {
  it("names its location and is read back", () => {
    for (const hint of LOCATION_HINTS) {
      for (let shard = 0; shard < SHARDS_MAX; shard += 1) {
        const place = shardAt(hint, shard);
        expect(placeFrom(place)).toBe(place);
        expect(locationOf(place)).toBe(hint);
      }
    }
    expect(shardAt("enam", 0)).toBe("enam");
  });

  it.each([
    "",
    "enam#0",
    "enam#8",
    "enam#01",
    "enam#-1",
    "enam#1.5",
    "enam#",
    "enam#1#1",
    "mars",
    "mars#1",
    "enam/x",
  ])("is refused when there is no such object: %j", (text) => expect(placeFrom(text)).toBeNull());
});
