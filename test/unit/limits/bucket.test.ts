import fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  accrue,
  available,
  type Bucket,
  fullBucket,
  take,
  UNITS_PER_TOKEN,
  waitMs,
} from "../../../src/limits/bucket.ts";

const perMinute = fc.integer({ min: 1, max: 1_000_000 });

describe("token bucket", () => {
  it("accrues the same in one long step as in many short ones", () => {
    fc.assert(
      fc.property(
        perMinute,
        fc.array(fc.integer({ min: 0, max: 100_000 }), { maxLength: 50 }),
        (rate, steps) => {
          const empty: Bucket = { levelUnits: 0, atMs: 0 };
          let nowMs = 0;
          let stepped = empty;
          for (const step of steps) {
            nowMs += step;
            stepped = accrue(stepped, rate, 0, nowMs);
          }
          expect(stepped).toEqual(accrue(empty, rate, 0, nowMs));
        },
      ),
    );
  });

  it("never holds more than its capacity less what is held", () => {
    fc.assert(
      fc.property(perMinute, fc.nat(1_000_000), fc.nat(10_000_000), (rate, held, elapsedMs) => {
        const bucket = accrue({ levelUnits: -held * UNITS_PER_TOKEN, atMs: 0 }, rate, held, elapsedMs);
        expect(bucket.levelUnits).toBeLessThanOrEqual((rate - held) * UNITS_PER_TOKEN);
      }),
    );
  });

  it("admits exactly after the wait that it states, and not a millisecond earlier", () => {
    fc.assert(
      fc.property(perMinute, fc.nat(2_000_000), (rate, spent) => {
        const tokens = Math.max(1, Math.min(rate, spent));
        const bucket = take(fullBucket(rate, 0), spent);
        const wait = waitMs(bucket, rate, tokens);
        expect(available(accrue(bucket, rate, 0, wait))).toBeGreaterThanOrEqual(tokens);
        if (wait > 0) expect(available(accrue(bucket, rate, 0, wait - 1))).toBeLessThan(tokens);
      }),
    );
  });

  it("gains nothing from a clock that steps back", () => {
    const bucket = take(fullBucket(60, 10_000), 60);
    const back = accrue(bucket, 60, 0, 0);
    expect(back).toEqual(bucket);
    expect(available(accrue(back, 60, 0, 11_000))).toBe(1);
  });
});
