import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { DAY_MS, DAY_SLOT_MS } from "../../../src/bounds.ts";
import { emptyWindow, roll, spend, spentTokens, windowWaitMs } from "../../../src/limits/window.ts";

const spends = fc.array(fc.record({ afterMs: fc.nat(6 * 60 * 60_000), tokens: fc.nat(1_000) }), {
  maxLength: 60,
});

describe("day window", () => {
  it("counts every token of the last 24 hours (I3) and none older than a day and a slot", () => {
    fc.assert(
      fc.property(spends, (list) => {
        let nowMs = 0;
        let window = emptyWindow(0);
        const log: { atMs: number; tokens: number }[] = [];
        for (const { afterMs, tokens } of list) {
          nowMs += afterMs;
          window = spend(roll(window, nowMs), tokens);
          log.push({ atMs: nowMs, tokens });
          const since = (ms: number) =>
            log.filter((e) => e.atMs > nowMs - ms).reduce((sum, e) => sum + e.tokens, 0);
          expect(spentTokens(window)).toBeGreaterThanOrEqual(since(DAY_MS));
          expect(spentTokens(window)).toBeLessThanOrEqual(since(DAY_MS + 2 * DAY_SLOT_MS));
        }
      }),
    );
  });

  it("has room after the wait that it states", () => {
    fc.assert(
      fc.property(spends, fc.integer({ min: 1, max: 2_000 }), (list, limit) => {
        let nowMs = 0;
        let window = emptyWindow(0);
        for (const { afterMs, tokens } of list) {
          nowMs += afterMs;
          window = spend(roll(window, nowMs), tokens);
        }
        const wait = windowWaitMs(window, 0, limit, 1, nowMs);
        expect(spentTokens(roll(window, nowMs + wait)) + 1).toBeLessThanOrEqual(limit);
      }),
    );
  });
});
