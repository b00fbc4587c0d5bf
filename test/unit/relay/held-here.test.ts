import { expect, it } from "vitest";
import { QUARANTINE_BYSTANDERS_MAX, QUARANTINE_HERE_MS } from "../../../src/bounds.ts";
import { HeldHere } from "../../../src/relay/held-here.ts";

it("an isolate refuses by itself what it saw two engines die with, for a moment", () => {
  const here = new HeldHere();
  expect(here.empty(0)).toBe(true);
  here.add("f", 100);
  expect([here.empty(200), here.untilMs("f", 200), here.untilMs("g", 200)]).toEqual([
    false,
    100 + QUARANTINE_HERE_MS,
    0,
  ]);
  expect(here.untilMs("f", 100 + QUARANTINE_HERE_MS)).toBe(0);
  expect(here.empty(100 + QUARANTINE_HERE_MS)).toBe(true);
});

it("refuses nobody while many are there at once: the place is why, and not all of them", () => {
  const here = new HeldHere();
  for (let at = 0; at <= QUARANTINE_BYSTANDERS_MAX; at++) here.add(`f${at}`, at);
  expect(here.untilMs("f0", 50)).toBe(0);
  // When the first of them are over, few are left.
  expect(here.untilMs(`f${QUARANTINE_BYSTANDERS_MAX}`, QUARANTINE_HERE_MS)).toBeGreaterThan(0);
});
