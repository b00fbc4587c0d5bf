import fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  RTT_HALF_LIFE_MS,
  RTT_PRIOR_SAMPLES,
  RTT_SAMPLE_MAX_MS,
  RTT_SAMPLES_MAX,
} from "../../../src/bounds.ts";
import { expectedRttMs, leastRttMs } from "../../../src/routing/geo.ts";
import type { MeasuredRtt } from "../../../src/routing/messages.ts";
import { excessOf, folded, gathered, rttOf } from "../../../src/routing/rtt.ts";

const one = (excessMs: number, samples = 1) => ({ pool: "p", excessMs, samples });

function reported(reports: readonly number[], stepMs = 0): MeasuredRtt {
  let known: MeasuredRtt | undefined;
  for (const [index, excessMs] of reports.entries()) known = folded(known, one(excessMs), index * stepMs);
  return known!;
}

const excess = fc.double({ min: -100, max: 500, noNaN: true });

describe("a sample", () => {
  it("is the time to the status less the gate's own, against what the distance lets expect", () => {
    // 1,000 km: 4 + 15 ms expected.
    expect(excessOf(1_000, 250, 220)).toBe(11);
    expect(excessOf(1_000, 235, 220)).toBe(-4);
  });

  it("that is faster than light, or no round trip at all, tells nothing", () => {
    expect(excessOf(1_000, 229, 220)).toBeNull();
    expect(excessOf(1_000, 230, 220)).toBe(-9);
    expect(excessOf(0, RTT_SAMPLE_MAX_MS + 1, 0)).toBeNull();
    for (const nonsense of [Number.NaN, Infinity, -Infinity]) expect(excessOf(0, 5, nonsense)).toBeNull();
  });

  it("of an interval counts as its least", () => {
    const told = [30, 12, 80].reduce<ReturnType<typeof gathered> | undefined>(
      (known, excessMs) => gathered(known, "p", excessMs),
      undefined,
    );
    expect(told).toEqual({ pool: "p", excessMs: 12, samples: 3 });
  });
});

describe("a location's estimate", () => {
  it("stays within what was reported", () => {
    fc.assert(
      fc.property(fc.array(excess, { minLength: 1, maxLength: 50 }), (reports) => {
        const { excessMs, samples } = reported(reports);
        expect(excessMs).toBeGreaterThanOrEqual(Math.min(...reports) - 1e-9);
        expect(excessMs).toBeLessThanOrEqual(Math.max(...reports) + 1e-9);
        expect(samples).toBeLessThanOrEqual(RTT_SAMPLES_MAX);
      }),
    );
  });

  it("keeps to the low side, whatever set-ups and queues add", () => {
    // Three of four answers came 100 ms late.
    const { excessMs } = reported(Array.from({ length: 400 }, (_, index) => (index % 4 === 0 ? 10 : 110)));
    expect(excessMs).toBeGreaterThan(10);
    expect(excessMs).toBeLessThan(50);
  });

  it("is not ruled by one low value, and follows a way that changed", () => {
    const steady = Array.from({ length: 60 }, () => 20);
    expect(reported([...steady, -40]).excessMs).toBe(5);
    expect(reported([...steady, -40, ...steady]).excessMs).toBeGreaterThan(18);
    expect(reported([...steady, ...Array.from({ length: 60 }, () => 90)]).excessMs).toBeGreaterThan(80);
    expect(reported([...steady, ...Array.from({ length: 12 }, () => 0)]).excessMs).toBeLessThan(1);
  });
});

describe("the round trip that is used", () => {
  it("is the distance's without a measurement, and tends to the measured with them", () => {
    expect(rttOf(1_000, undefined, 0)).toEqual({ expectedMs: 19, measuredMs: null, samples: 0, usedMs: 19 });
    // n = prior: half of each. 19 + ½ · 40.
    const half = { pool: "p", excessMs: 40, samples: RTT_PRIOR_SAMPLES, atMs: 0 };
    expect(rttOf(1_000, half, 0)).toEqual({ expectedMs: 19, measuredMs: 59, samples: 8, usedMs: 39 });
    expect(rttOf(1_000, { ...half, samples: RTT_SAMPLES_MAX }, 0).usedMs).toBeGreaterThan(54);
  });

  it("forgets: what is not measured any more counts half as much after each half-life", () => {
    const known = { pool: "p", excessMs: 40, samples: 2 * RTT_PRIOR_SAMPLES, atMs: 0 };
    expect(rttOf(1_000, known, RTT_HALF_LIFE_MS).usedMs).toBe(39);
    expect(rttOf(1_000, known, 20 * RTT_HALF_LIFE_MS).usedMs).toBeCloseTo(19, 2);
    expect(folded(known, one(40), RTT_HALF_LIFE_MS).samples).toBe(RTT_PRIOR_SAMPLES + 1);
  });

  it("lies between the distance's and the measured, never below light, and grows with what is measured", () => {
    const km = fc.double({ min: 0, max: 20_015, noNaN: true });
    const samples = fc.integer({ min: 1, max: RTT_SAMPLES_MAX });
    fc.assert(
      fc.property(km, excess, excess, samples, (distance, a, b, count) => {
        const [low, high] = [Math.min(a, b), Math.max(a, b)].map((excessMs) =>
          rttOf(distance, { pool: "p", excessMs, samples: count, atMs: 0 }, 0),
        );
        expect(low!.usedMs).toBeLessThanOrEqual(high!.usedMs);
        for (const { usedMs, measuredMs } of [low!, high!]) {
          expect(usedMs).toBeGreaterThanOrEqual(leastRttMs(distance));
          expect(usedMs).toBeGreaterThanOrEqual(Math.min(expectedRttMs(distance), measuredMs!) - 1e-9);
          expect(usedMs).toBeLessThanOrEqual(Math.max(expectedRttMs(distance), measuredMs!) + 1e-9);
        }
      }),
    );
  });
});
