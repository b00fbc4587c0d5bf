import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { NEAR_MS } from "../../../src/bounds.ts";
import { type Candidate, drawn, mayAsk } from "../../../src/routing/rank.ts";
import { NOW_MS, poolAt, randomFrom, ranked, state } from "./pools.ts";

/** One pool of a made-up world. */
interface Made {
  readonly rttMs: number;
  readonly inUse: number;
  readonly capacity: number;
  readonly waitMs: number;
  readonly ageMs: number;
  readonly heard: boolean;
  readonly drained: boolean;
  readonly breaker: "closed" | "open" | "half_open";
}

const made: fc.Arbitrary<Made> = fc.record({
  // Often near each other, so that shares are shared.
  rttMs: fc.oneof(fc.double({ min: 10, max: 60, noNaN: true }), fc.double({ min: 4, max: 300, noNaN: true })),
  inUse: fc.nat(50),
  capacity: fc.nat(40),
  waitMs: fc.oneof(fc.constant(0), fc.nat(800)),
  ageMs: fc.oneof(fc.constant(0), fc.nat(40_000)),
  heard: fc.boolean(),
  drained: fc.boolean(),
  breaker: fc.constantFrom("closed", "closed", "open", "half_open"),
});
const world = fc.array(made, { minLength: 1, maxLength: 7 });

function inputs(pools: readonly Made[], slowerMs: readonly number[] = []) {
  const list = pools.map((one, index) => poolAt(`p${index}`, one.rttMs, { drained: one.drained }));
  const states = pools.flatMap(({ waitMs: wait, ageMs, heard, drained, rttMs, ...one }, index) => {
    const waitMs = { interactive: wait, default: wait, batch: wait };
    return heard ? [state(`p${index}`, one.inUse, { ...one, waitMs, atMs: NOW_MS - ageMs })] : [];
  });
  const rtts = new Map(
    slowerMs.map((excessMs, index) => {
      return [`p${index}`, { pool: `p${index}`, excessMs, samples: 64, atMs: NOW_MS }];
    }),
  );
  return { pools: list, states, rtts };
}

/**
 * A pool's place in the mean over all draws, by the formula: of two pools with shares, the one comes before the other in
 * proportion to them; those without come after all that have some, in their order.
 */
function expectedPlace(candidates: readonly Candidate[], id: string): number {
  const at = candidates.findIndex(({ pool }) => pool.id === id);
  const { share } = candidates[at]!;
  if (share === 0) return at + 1;
  const others = candidates.filter(({ pool }) => pool.id !== id);
  return others.reduce((sum, other) => sum + other.share / (other.share + share), 1);
}

describe("rank", () => {
  it("puts excluded pools last, and gives them no share unless they are the last resort", () => {
    fc.assert(
      fc.property(world, (pools) => {
        const candidates = ranked(inputs(pools));
        expect(candidates).toHaveLength(pools.length);
        const out = candidates.map(({ excluded, lastResort }) => excluded !== null && !lastResort);
        expect(out).toEqual([...out].sort((a, b) => Number(a) - Number(b)));
        const total = candidates.reduce((sum, { share }) => sum + share, 0);
        expect(total).toBeCloseTo(out.includes(false) ? 1 : 0, 9);
        for (const { excluded, lastResort, share } of candidates) {
          if (excluded !== null && !lastResort) expect(share).toBe(0);
          if (lastResort) expect(excluded).toBe("breaker_open");
        }
        const open = candidates.filter(({ excluded }) => excluded === null);
        expect(candidates.some(({ lastResort }) => lastResort) && open.length > 0).toBe(false);
        for (const { excluded } of candidates.filter(mayAsk)) expect(excluded).not.toBe("drained");
      }),
    );
  });

  it("does not depend on the order of pools and states, nor does the draw", () => {
    const shuffled = world.chain((pools) => {
      const order = fc.shuffledSubarray([...pools.keys()], { minLength: pools.length });
      return fc.record({ pools: fc.constant(pools), order, seed: fc.nat() });
    });
    fc.assert(
      fc.property(shuffled, ({ pools, order, seed }) => {
        const asked = inputs(pools);
        const mixed = {
          ...asked,
          pools: order.map((at) => asked.pools[at]!),
          states: asked.states.toReversed(),
        };
        expect(ranked(mixed)).toEqual(ranked(asked));
        expect(drawn(ranked(mixed), randomFrom(seed))).toEqual(drawn(ranked(asked), randomFrom(seed)));
      }),
    );
  });

  it("never moves a pool forward because it became slower", () => {
    fc.assert(
      fc.property(world, fc.nat(), fc.double({ min: 0, max: 200, noNaN: true }), (pools, pick, slowerMs) => {
        const at = pick % pools.length;
        const slow = pools.map((_, index) => (index === at ? slowerMs : 0));
        const before = expectedPlace(
          ranked(
            inputs(
              pools,
              pools.map(() => 0),
            ),
          ),
          `p${at}`,
        );
        const after = expectedPlace(ranked(inputs(pools, slow)), `p${at}`);
        expect(after).toBeGreaterThanOrEqual(before - 1e-9);
      }),
      { numRuns: 500 },
    );
  });

  it("moves shares no faster than predictions: no edge at which one jumps", () => {
    const step = fc.double({ min: 0, max: 1, noNaN: true });
    fc.assert(
      fc.property(world, fc.nat(), step, (pools, pick, stepMs) => {
        const at = pick % pools.length;
        const before = ranked(inputs(pools));
        const moved = pools.map((one, index) => (index === at ? { ...one, rttMs: one.rttMs + stepMs } : one));
        const shareIn = (candidates: readonly Candidate[], index: number) =>
          candidates.find(({ pool }) => pool.id === `p${index}`)!.share;
        const after = ranked(inputs(moved));
        // Weights reach from 0 to 40 places and move by stepMs ÷ reach of that; the best weighs at least half a place.
        const most = (3 * pools.length * 40 * stepMs) / (2 * NEAR_MS) / 0.5;
        for (const index of pools.keys()) {
          expect(Math.abs(shareIn(after, index) - shareIn(before, index))).toBeLessThanOrEqual(most + 1e-9);
        }
      }),
    );
  });
});

describe("drawn", () => {
  it("is a permutation: those with a share first, the rest as ranked", () => {
    fc.assert(
      fc.property(world, fc.nat(), (pools, seed) => {
        const candidates = ranked(inputs(pools));
        const order = drawn(candidates, randomFrom(seed));
        expect(new Set(order)).toEqual(new Set(candidates));
        const rest = candidates.filter(({ share }) => share === 0);
        expect(order.slice(order.length - rest.length)).toEqual(rest);
      }),
    );
  });

  it("puts each pool first as often as its share says", () => {
    const pools = [poolAt("a", 30), poolAt("b", 30), poolAt("c", 40), poolAt("d", 300)];
    const states = [state("a", 0), state("b", 2), state("c", 0), state("d", 0)];
    const candidates = ranked({ pools, states });
    const random = randomFrom(7);
    const firsts = new Map<string, number>();
    const draws = 20_000;
    for (let draw = 0; draw < draws; draw++) {
      const { id } = drawn(candidates, random)[0]!.pool;
      firsts.set(id, (firsts.get(id) ?? 0) + 1);
    }
    for (const { pool, share } of candidates) {
      // Four standard deviations of a binomial share are below 0.015 here.
      expect(Math.abs((firsts.get(pool.id) ?? 0) / draws - share)).toBeLessThan(0.015);
    }
  });
});
