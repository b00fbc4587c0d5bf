import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { Lateness } from "../../../src/routing/lateness.ts";

describe("what a late first token is", () => {
  it("is not known before enough were seen", () => {
    const lateness = new Lateness(128, 20);
    for (let one = 0; one < 19; one++) lateness.seen(100, 100);
    expect(lateness.afterMs(100)).toBeNull();
    lateness.seen(100, 100);
    expect(lateness.afterMs(100)).toBe(100);
  });

  it("is the 95th percentile of what was kept, and scales with what is predicted", () => {
    const lateness = new Lateness(100, 20);
    for (let ms = 1; ms <= 100; ms++) lateness.seen(ms, 100);
    expect(lateness.afterMs(100)).toBeCloseTo(95);
    expect(lateness.afterMs(1_000)).toBeCloseTo(950);
    // Older ones are forgotten.
    for (let one = 0; one < 100; one++) lateness.seen(400, 100);
    expect(lateness.afterMs(100)).toBeCloseTo(400);
  });

  it("works on bare times where pools predict nothing", () => {
    const times = fc.array(fc.integer({ min: 0, max: 60_000 }), { minLength: 20, maxLength: 128 });
    fc.assert(
      fc.property(times, (ms) => {
        const lateness = new Lateness(128, 20);
        for (const one of ms) lateness.seen(one, null);
        const after = lateness.afterMs(null)!;
        const later = ms.filter((one) => one > after + 1e-6).length;
        expect(later).toBeLessThanOrEqual(0.05 * ms.length);
      }),
    );
  });
});
