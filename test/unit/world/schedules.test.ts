import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { scheduleOf } from "../../../sim/world/schedule.ts";
import { failureOf, firstFailure } from "../../../sim/world/search.ts";

const SEEDS = 1_000;
const DRAWN = 1_000;
const TIMEOUT_MS = 120_000;

describe("budgets in a world that fails (I1 … I7, L1)", () => {
  it(`hold in the schedules of seeds 1 to ${SEEDS}`, { timeout: TIMEOUT_MS }, () => {
    const failure = firstFailure(1, SEEDS);
    expect(failure?.error, `npm run sim -- --seed ${failure?.schedule.seed} --schedules 1`).toBeUndefined();
  });

  it(`hold in ${DRAWN} schedules that fast-check draws and shrinks`, { timeout: TIMEOUT_MS }, () => {
    const integer = fc.nat(2 ** 30);
    const schedule = fc.record({ seed: integer, actions: fc.array(integer, { maxLength: 20 }) });
    fc.assert(
      fc.property(schedule, (drawn) => {
        const failure = failureOf(drawn);
        if (failure) throw failure.error;
      }),
      { numRuns: DRAWN },
    );
  });

  it("hold where the home's clock steps back before the home has looked at it", () => {
    const actions = [225903003, 614764717, 594608466, 452460326, 594852207];
    expect(failureOf({ seed: 5_144_781, actions })).toBeNull();
  });

  it("play the same way every time", () => {
    const seed = 77;
    expect(scheduleOf(seed)).toEqual(scheduleOf(seed));
    expect(scheduleOf(seed)).not.toEqual(scheduleOf(seed + 1));
  });
});
