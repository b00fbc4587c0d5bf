import { beforeEach, expect, test } from "vitest";
import { UNREACHED_MAX, UNREACHED_RETRY_MS } from "../../../src/bounds.ts";
import { gatesOf, objectOf, Reach } from "../../../src/routing/reach.ts";

const FR = gatesOf("fr");
let reach: Reach;
beforeEach(() => {
  reach = new Reach();
});

test("what was missed is tried by one request after a while, and by no other until that one is over", () => {
  reach.missed(FR, 1_000);
  expect(reach.mayTry(FR, 1_000 + UNREACHED_RETRY_MS - 1)).toBe(false);
  expect(reach.isMissed(FR, 1_000 + UNREACHED_RETRY_MS)).toBe(false);
  const atMs = 1_000 + UNREACHED_RETRY_MS;
  expect([1, 2, 3].map(() => reach.mayTry(FR, atMs))).toEqual([true, false, false]);
  // Whoever tries may never come back, with its client gone: the next one has its turn.
  expect(reach.mayTry(FR, atMs + UNREACHED_RETRY_MS)).toBe(true);
  expect(reach.isDoubtful(FR)).toBe(true);
});

test("what answers is as if it had never been missed", () => {
  reach.missed(FR, 1_000);
  reach.reached(FR);
  expect([
    reach.isDoubtful(FR),
    reach.isMissed(FR, 1_001),
    reach.mayTry(FR, 1_001),
    reach.mayTry(FR, 1_001),
  ]).toEqual([...[false, false, true, true]]);
});

test("objects and gates are known apart, and no more of them than the bound", () => {
  reach.missed(objectOf("fr", "m", 0), 1_000);
  expect(reach.isMissed(FR, 1_001)).toBe(false);
  expect(reach.isMissed(objectOf("fr", "m", 1), 1_001)).toBe(false);
  for (let at = 0; at < 2 * UNREACHED_MAX; at++) reach.missed(`gates/${at}`, 1_000);
  expect(reach.isMissed(objectOf("fr", "m", 0), 1_001)).toBe(false);
  expect(reach.isMissed(`gates/${2 * UNREACHED_MAX - 1}`, 1_001)).toBe(true);
});
