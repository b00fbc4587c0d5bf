import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { type Pace, paced, waitSeconds } from "../../../src/gate/pace.ts";

/** Looks a second apart. */
function looked(looks: readonly (readonly [firstTokens: number, waiting: number])[]): Pace {
  let pace: Pace | null = null;
  for (const [second, [firstTokens, waiting]] of looks.entries()) {
    pace = paced(pace, firstTokens, waiting, second * 1_000);
  }
  return pace!;
}

describe("the wait at a replica", () => {
  it("is nothing while nobody waits, and unknown where nothing was ever begun", () => {
    expect(waitSeconds(looked([[5, 0]]))).toBe(0);
    expect(waitSeconds(looked([[5, 3]]))).toBeNull();
    expect(
      waitSeconds(
        looked([
          [0, 3],
          [0, 4],
        ]),
      ),
    ).toBeNull();
  });

  it("is the queue over the rate at which it goes", () => {
    expect(
      waitSeconds(
        looked([
          [0, 8],
          [4, 8],
          [8, 8],
        ]),
      ),
    ).toBeCloseTo(2);
  });

  it("takes an idle replica's rate for a lower bound, and a restarted one for a new one", () => {
    const idle = looked([
      [0, 0],
      [10, 0],
      [11, 0],
      [12, 20],
    ]);
    expect(waitSeconds(idle)).toBeCloseTo(2);
    expect(paced(idle, 0, 5, 9_000).perSecond).toBeNull();
  });

  it("comes to rest at the true rate, whatever it was before", () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 50 }), fc.integer({ min: 0, max: 500 }), (rate, burst) => {
        const looks: [number, number][] = [
          [0, 0],
          [burst, 0],
        ];
        for (let second = 1; second <= 40; second++) looks.push([burst + rate * second, 100]);
        expect(waitSeconds(looked(looks))).toBeCloseTo(100 / rate, 1);
      }),
    );
  });
});
