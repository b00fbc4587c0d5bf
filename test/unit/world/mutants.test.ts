import { describe, expect, it } from "vitest";
import { MUTANTS } from "../../../sim/world/mutants.ts";
import { firstFailure, shrunk } from "../../../sim/world/search.ts";

/** Those that nearly every schedule catches; `npm run sim:mutants` plays them all until each is caught. */
const QUICK = [
  "refill-during-lease",
  "refill-while-held",
  "grant-without-debit",
  "grants-add-up",
  "report-settles-twice",
  "memory-only-draw",
  "stale-twin-writes",
  "both-attempts-charged",
  "elect-charges-again",
  "one-final-ends-race",
];

describe("a protocol with one thing wrong", () => {
  it.each(QUICK)("is caught: %s", (name) => {
    const { protocol } = MUTANTS.find((mutant) => mutant.name === name)!;
    const failure = firstFailure(1, 50, protocol);
    expect(failure).not.toBeNull();
    const { keep } = shrunk(failure!, protocol);
    expect(keep.length).toBeLessThanOrEqual(failure!.schedule.actions.length);
  });

  it("has a name of its own each time", () => {
    expect(new Set(MUTANTS.map(({ name }) => name)).size).toBe(MUTANTS.length);
    expect(MUTANTS.length).toBeGreaterThanOrEqual(12);
  });
});
