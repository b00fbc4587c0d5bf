import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { randomFrom } from "../../../sim/world/random.ts";
import { OBJECT_CALL_TIMEOUT_MS, SHARDS_MAX } from "../../../src/bounds.ts";
import {
  OBJECT_ASKED_PER_SECOND,
  OBJECT_DRAWN_PER_SECOND,
  SHARD_COOL_MS,
  SHARD_HOT,
  SHARD_KEPT_MS,
  SHARD_SETTLE_MS,
} from "../../../src/limits/bounds.ts";
import {
  asking,
  COLD,
  heard,
  heated,
  type ShardChoice,
  UNCHOSEN,
  unheard,
} from "../../../src/limits/shards.ts";
import { type Isolate, ShardWorld } from "./shard-world.ts";

const NOW_MS = 1_800_000_000_000;
const seed = fc.integer({ min: 1, max: 2 ** 31 });
const everyMs = fc.integer({ min: 100, max: 2_000 });

/** None alone has more than so much of an object's rate. */
const ISOLATE_MAX = 0.3;

/** Uneven isolates that are too many for one object, and that eight can serve at half of their rate each. */
const uneven = fc
  .record({
    isolates: fc.array(fc.record({ part: fc.double({ min: 0.02, max: 1, noNaN: true }), everyMs }), {
      minLength: 8,
      maxLength: 50,
    }),
    fullness: fc.double({ min: 0, max: 1, noNaN: true }),
  })
  .map(({ fullness, isolates }): Isolate[] => {
    const most = Math.min(4, isolates.length * ISOLATE_MAX * 0.9);
    const all = 1.2 + fullness * (most - 1.2);
    const loads = (scale: number) => isolates.map(({ part }) => Math.min(ISOLATE_MAX, part * scale));
    const sum = (scale: number) => loads(scale).reduce((total, load) => total + load, 0);
    let scale = 0.001;
    while (sum(scale) < all) scale *= 1.02;
    return loads(scale).map((load, index) => ({ load, everyMs: isolates[index]!.everyMs }));
  });

function worldOf(isolates: readonly Isolate[], from: number): ShardWorld {
  const random = randomFrom(from);
  return new ShardWorld(isolates, () => random.int(0, 2 ** 30 - 1) / 2 ** 30);
}

const even = (count: number, load: number): Isolate[] =>
  Array.from({ length: count }, (_, index) => ({ load, everyMs: 100 + ((index * 137) % 1_900) }));

const allMoves = ({ moves }: ShardWorld) => moves.reduce((sum, one) => sum + one, 0);
const inUse = (world: ShardWorld) => new Set(world.choices.map(({ shard }) => shard)).size;

describe("isolates that choose among the objects of their location", () => {
  it("leave none above its rate for longer than two minutes, where all of them together fit", () => {
    fc.assert(
      fc.property(uneven, seed, (isolates, from) => {
        const world = worldOf(isolates, from);
        world.pass(120);
        expect(world.pass(180)).toBeLessThan(1);
      }),
      { numRuns: 40 },
    );
  });

  it("do so wherever they begin, also when all are at one shard and the location's own object is idle", () => {
    fc.assert(
      fc.property(uneven, seed, fc.integer({ min: 1, max: 7 }), (isolates, from, shard) => {
        const world = worldOf(isolates, from);
        world.choices = world.choices.map((choice) => ({ ...choice, shard, reach: SHARDS_MAX }));
        world.pass(120);
        expect(world.pass(180)).toBeLessThan(1);
      }),
      { numRuns: 40 },
    );
  });

  it("come to rest under any steady load, feasible or not", () => {
    const any = fc.array(fc.record({ load: fc.double({ min: 0, max: 1.5, noNaN: true }), everyMs }), {
      minLength: 1,
      maxLength: 40,
    });
    fc.assert(
      fc.property(fc.oneof(uneven, any), seed, (isolates, from) => {
        const world = worldOf(isolates, from);
        world.pass(900);
        // A few moves each, and seldom one later: the last that is too much leaves at a small chance.
        expect(allMoves(world)).toBeLessThanOrEqual(4 * isolates.length + 4);
        const before = allMoves(world);
        world.pass(900);
        expect(allMoves(world) - before).toBeLessThanOrEqual(2 + isolates.length / 20);
      }),
      { numRuns: 25 },
    );
  });

  it("stay at one object below half of its rate, and use no more than two for a little more", () => {
    const one = worldOf(even(20, 0.45 / 20), 1);
    one.pass(600);
    expect([inUse(one), allMoves(one)]).toEqual([1, 0]);
    const two = worldOf(even(20, 0.6 / 20), 1);
    two.pass(600);
    expect(inUse(two)).toBe(2);
  });

  it("keep an isolate that is too much for any object where it is", () => {
    const world = worldOf([{ load: 1.4, everyMs: 100 }], 1);
    world.pass(900);
    expect(allMoves(world)).toBe(0);
  });

  it("do not all leave a crowded shard at once", () => {
    const world = worldOf(even(200, 3 / 200), 1);
    let left = 200;
    for (let second = 0; second < 30; second += 1) {
      world.pass(1);
      const now = world.choices.filter(({ shard }) => shard === 0).length;
      expect(left - now).toBeLessThan(50);
      left = now;
    }
    expect(left).toBeLessThan(150);
  });

  it("come back to the location's own object when the load has gone", () => {
    fc.assert(
      fc.property(uneven, seed, (isolates, from) => {
        const world = worldOf(isolates, from);
        world.pass(300);
        world.isolates = isolates.map((isolate) => ({ ...isolate, load: isolate.load / 50 }));
        world.pass(8 * (SHARD_COOL_MS / 1_000));
        expect(inUse(world)).toBe(1);
        expect(world.choices[0]!.shard).toBe(0);
      }),
      { numRuns: 20 },
    );
  });

  it("spread though isolates die and new ones begin at the location's own object", () => {
    const world = worldOf(even(60, 0.05), 1);
    world.pass(120);
    // Each lives for five minutes.
    for (let born = 0; born < 120; born += 1) {
      world.choices[born % 60] = UNCHOSEN;
      expect(world.pass(5)).toBeLessThan(1);
    }
  });

  it("spread though each asks once in half a minute only", () => {
    const world = worldOf(
      even(600, 2.4 / 600).map((isolate) => ({ ...isolate, everyMs: 30_000 })),
      1,
    );
    world.pass(300);
    expect(world.pass(60)).toBeLessThan(1);
  });
});

const CROWDED: ShardChoice = { ...UNCHOSEN, shard: 1, load: 0.8, heardMs: NOW_MS - 5_000, warmMs: NOW_MS };
const always = () => 0;
const never = () => 0.999_999;

describe("an isolate's choice", () => {
  const hear = (choice: ShardChoice, shard: number, load: number, nowMs: number, random = always) =>
    heard(choice, { shard, load }, nowMs, random);

  it("sends one request to another shard before it moves, and moves where it is clearly better", () => {
    const trying = hear(CROWDED, 1, 0.8, NOW_MS);
    expect(trying.trial).toEqual({ shard: 0, sentMs: null });
    const sent = asking(trying, NOW_MS);
    expect(sent.shard).toBe(0);
    expect(asking(sent.choice, NOW_MS + 1).shard, "the one after it stays").toBe(1);
    expect(hear(sent.choice, 0, 0.1, NOW_MS + 5)).toMatchObject({ shard: 0, trial: null });
    expect(hear(sent.choice, 0, 0.7, NOW_MS + 5)).toMatchObject({ shard: 1, trial: null, reach: 4 });
  });

  it("counts what it brings along", () => {
    const busy = { ...CROWDED, own: { load: 0.6, atMs: NOW_MS } };
    const sent = asking(hear(busy, 1, 0.8, NOW_MS), NOW_MS).choice;
    expect(hear(sent, 0, 0.1, NOW_MS + 1).shard).toBe(1);
  });

  it("rests after a move, and never leaves a shard that is not crowded", () => {
    const moved = hear(asking(hear(CROWDED, 1, 0.8, NOW_MS), NOW_MS).choice, 0, 0.1, NOW_MS);
    expect(hear(moved, 0, 0.9, NOW_MS + SHARD_SETTLE_MS - 1).trial).toBeNull();
    expect(hear(moved, 0, 0.9, NOW_MS + SHARD_SETTLE_MS + 1).trial).not.toBeNull();
    expect(hear(CROWDED, 1, SHARD_HOT - 0.01, NOW_MS).trial).toBeNull();
    expect(hear(CROWDED, 1, 0.8, NOW_MS, never).trial).toBeNull();
  });

  it("takes no late word of a shard that it has left", () => {
    expect(hear(CROWDED, 3, 0.9, NOW_MS)).toEqual(CROWDED);
  });

  it("forgets a trial that is not answered", () => {
    const sent = asking(hear(CROWDED, 1, 0.8, NOW_MS), NOW_MS).choice;
    expect(hear(sent, 1, 0.8, NOW_MS + OBJECT_CALL_TIMEOUT_MS).trial).not.toBeNull();
    expect(hear(sent, 1, 0.8, NOW_MS + OBJECT_CALL_TIMEOUT_MS + 1).trial).toBeNull();
    expect(unheard(sent, 0, NOW_MS, always)).toMatchObject({ shard: 1, trial: null });
  });

  it("leaves a shard that does not answer for any other, but not the location's own object", () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 7 }),
        fc.double({ min: 0, max: 0.999, noNaN: true }),
        (shard, dice) => {
          const choice = { ...UNCHOSEN, shard, reach: SHARDS_MAX };
          const after = unheard(choice, shard, NOW_MS, () => dice);
          expect(after.shard).not.toBe(shard);
          expect(after.shard).toBeLessThan(SHARDS_MAX);
          expect(unheard(choice, (shard + 1) % 8, NOW_MS, () => dice)).toEqual(choice);
        },
      ),
    );
    expect(unheard(UNCHOSEN, 0, NOW_MS, always)).toEqual(UNCHOSEN);
  });

  it("is the location's own object again when nothing was heard for long", () => {
    const choice = { ...CROWDED, heardMs: NOW_MS };
    expect(asking(choice, NOW_MS + SHARD_KEPT_MS).shard).toBe(1);
    expect(asking(choice, NOW_MS + SHARD_KEPT_MS + 1).shard).toBe(0);
  });

  it("is a shard that exists and a wider reach, whatever it hears, also when the clock steps back", () => {
    const word = fc.record({
      at: fc.constantFrom("chosen", "tried", "other", "silent"),
      load: fc.double({ min: 0, max: 2, noNaN: true }),
      afterMs: fc.constantFrom(-3_600_000, -1, 0, 50, 5_000, 11_000, 70_000),
      dice: fc.double({ min: 0, max: 0.999_999, noNaN: true }),
    });
    fc.assert(
      fc.property(fc.array(word, { maxLength: 60 }), (words) => {
        let choice = UNCHOSEN;
        let nowMs = NOW_MS;
        for (const { afterMs, at, dice, load } of words) {
          nowMs += afterMs;
          const { choice: next, shard } = asking(choice, nowMs);
          const from = { chosen: next.shard, tried: shard, other: Math.floor(dice * 8), silent: next.shard };
          choice =
            at === "silent"
              ? unheard(next, next.shard, nowMs, () => dice)
              : heard(next, { shard: from[at], load }, nowMs, () => dice);
          expect([2, 4, 8]).toContain(choice.reach);
          expect(choice.shard).toBeLessThan(choice.reach);
          expect(choice.trial?.shard ?? 0).toBeLessThan(choice.reach);
          expect(choice.trial?.shard).not.toBe(choice.shard);
        }
      }),
    );
  });
});

describe("an object's heat", () => {
  it("is the part of its measured rate that is in use, whichever way requests are admitted", () => {
    fc.assert(
      fc.property(
        fc.double({ min: 0, max: 1, noNaN: true }),
        fc.double({ min: 0, max: 1, noNaN: true }),
        (load, part) => {
          let heat = COLD;
          for (let ms = 0; ms < 60_000; ms += 100) {
            const [asked, drawn] = [OBJECT_ASKED_PER_SECOND * part, OBJECT_DRAWN_PER_SECOND * (1 - part)];
            heat = heated(heat, { asked: (asked * load) / 10, drawn: (drawn * load) / 10 }, NOW_MS + ms);
          }
          expect(heat.load).toBeCloseTo(load, 1);
        },
      ),
    );
  });

  it("does not grow when the clock steps back", () => {
    const heat = heated({ load: 0.4, atMs: NOW_MS }, { asked: 0, drawn: 0 }, NOW_MS - 3_600_000);
    expect(heat.load).toBe(0.4);
  });
});
