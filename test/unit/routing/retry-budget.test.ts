import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { RetryBudget } from "../../../src/routing/retry-budget.ts";

const RULES = { share: 0.1, floor: 3, windowMs: 10_000 };
const SLOT_MS = RULES.windowMs / 10;

describe("a retry budget", () => {
  it("never lets a window's retries exceed its share of that window's requests and the floor", () => {
    const event = fc.tuple(fc.integer({ min: 0, max: 3_000 }), fc.boolean());
    fc.assert(
      fc.property(fc.array(event, { maxLength: 300 }), (events) => {
        const budget = new RetryBudget(RULES);
        const requests: number[] = [];
        const retries: number[] = [];
        let nowMs = 5_000_000;
        for (const [afterMs, isRetry] of events) {
          nowMs += afterMs;
          if (!isRetry) {
            budget.requested(nowMs);
            requests.push(nowMs);
          } else if (budget.take(nowMs)) retries.push(nowMs);
          // The window moves by whole slots: what it holds now began at a slot's start.
          const fromMs = (Math.floor(nowMs / SLOT_MS) - 9) * SLOT_MS;
          const within = (times: number[]) => times.filter((atMs) => atMs >= fromMs).length;
          expect(within(retries)).toBeLessThanOrEqual(RULES.floor + RULES.share * within(requests));
        }
      }),
    );
  });

  it("has its floor where nothing else comes, and has it again after a window", () => {
    const budget = new RetryBudget(RULES);
    const took = (nowMs: number) => [1, 2, 3, 4].map(() => budget.take(nowMs));
    expect(took(0)).toEqual([true, true, true, false]);
    expect(took(9_999)).toEqual([false, false, false, false]);
    expect(took(10_000)).toEqual([true, true, true, false]);
  });

  it("grows with requests by their share, and is not fooled by a clock that steps back", () => {
    const budget = new RetryBudget(RULES);
    for (let request = 0; request < 100; request++) budget.requested(20_000);
    const taken = Array.from({ length: 30 }, () => budget.take(15_000)).filter(Boolean).length;
    expect(taken).toBe(13);
  });
});
