import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { type Emitted, windows } from "../../../sim/attack/windows.ts";

/** The same by looking at every interval. */
function slowly(emitted: readonly Emitted[], perMinute: number): { beyond: number; inMinute: number } {
  let [beyond, inMinute] = [-perMinute, 0];
  for (const [fromMs] of emitted) {
    for (const [toMs] of emitted) {
      if (toMs < fromMs) continue;
      const inside = emitted.filter(([atMs]) => atMs >= fromMs && atMs <= toMs);
      const tokens = inside.reduce((sum, [, count]) => sum + count, 0);
      beyond = Math.max(beyond, tokens - perMinute - ((toMs - fromMs) * perMinute) / 60_000);
      if (toMs - fromMs < 60_000) inMinute = Math.max(inMinute, tokens);
    }
  }
  return { beyond: Math.ceil(beyond), inMinute };
}

describe("what the attack counts in windows", () => {
  it("finds the worst of all intervals, whatever was emitted when", () => {
    const emitted = fc.array(
      fc.tuple(fc.integer({ min: 0, max: 200_000 }), fc.integer({ min: 1, max: 900 })),
      {
        minLength: 1,
        maxLength: 30,
      },
    );
    fc.assert(
      fc.property(emitted, fc.integer({ min: 60, max: 6_000 }), (all, perMinute) => {
        const { beyond, inMinute } = windows(all, perMinute);
        const expected = slowly(all, perMinute);
        expect(inMinute).toBe(expected.inMinute);
        expect(Math.abs(beyond - expected.beyond)).toBeLessThanOrEqual(1);
      }),
    );
  });
});
