import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { Intervals, Sliding } from "../../../sim/world/intervals.ts";
import { UNITS_PER_TOKEN } from "../../../src/limits/bucket.ts";

const moment = fc.record({ refill: fc.nat(50), made: fc.nat(100), overrun: fc.nat(20) });

describe("the check of all intervals at once", () => {
  it("finds exactly what trying every interval finds", () => {
    fc.assert(
      fc.property(fc.array(moment, { maxLength: 40 }), fc.nat(200), (moments, bucket) => {
        const intervals = new Intervals();
        let worst = 0;
        const excesses = moments.map(({ refill, made, overrun }) => {
          intervals.refilled(refill * UNITS_PER_TOKEN);
          return intervals.made(made, Math.min(made, overrun), bucket);
        });
        for (let end = 0; end < moments.length; end += 1) {
          let [made, refill, excess] = [0, 0, 0];
          for (let start = end; start >= 0; start -= 1) {
            const one = moments[start]!;
            made += one.made - Math.min(one.made, one.overrun);
            excess = Math.max(excess, made - refill - bucket);
            refill += one.refill;
          }
          worst = Math.max(worst, excess);
          expect(excesses[end]).toBe(excess);
        }
        expect(Math.max(0, ...excesses)).toBe(worst);
      }),
    );
  });

  it("leaves what a clock that stepped back did not refill to what has begun since the home last looked", () => {
    const intervals = new Intervals();
    intervals.settle();
    intervals.refilled(5 * UNITS_PER_TOKEN);
    expect(intervals.made(0, 0, 10)).toBe(0);
    intervals.refilled(-5 * UNITS_PER_TOKEN);
    expect(intervals.made(10, 0, 10)).toBe(0);
    intervals.settle();
    intervals.refilled(5 * UNITS_PER_TOKEN);
    expect(intervals.made(5, 0, 10)).toBe(0);
    expect(intervals.made(1, 0, 10)).toBe(1);
  });

  it("leaves nothing of it to what began before", () => {
    const intervals = new Intervals();
    expect(intervals.made(0, 0, 10)).toBe(0);
    intervals.settle();
    intervals.refilled(5 * UNITS_PER_TOKEN);
    intervals.refilled(-5 * UNITS_PER_TOKEN);
    expect(intervals.made(10, 0, 10)).toBe(0);
    expect(intervals.made(1, 0, 10)).toBe(1);
  });

  it("sums a sliding window", () => {
    const window = new Sliding(100);
    window.add(0, 5);
    window.add(60, 7);
    expect(window.at(99)).toBe(12);
    expect(window.at(100)).toBe(7);
    expect(window.at(161)).toBe(0);
  });
});
