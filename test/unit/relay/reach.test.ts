import { expect, test } from "vitest";
import { UNREACHED_MAX, UNREACHED_RETRY_MS } from "../../../src/bounds.ts";
import {
  gatesOf,
  isDoubtful,
  isMissed,
  mayTry,
  missed,
  objectOf,
  reached,
} from "../../../src/relay/reach.ts";

const FR = gatesOf("fr");

test("what was missed is tried by one request after a while, and by no other until that one is over", () => {
  missed(FR, 1_000);
  expect(mayTry(FR, 1_000 + UNREACHED_RETRY_MS - 1)).toBe(false);
  expect(isMissed(FR, 1_000 + UNREACHED_RETRY_MS)).toBe(false);
  const atMs = 1_000 + UNREACHED_RETRY_MS;
  expect([1, 2, 3].map(() => mayTry(FR, atMs))).toEqual([true, false, false]);
  // Whoever tries may never come back, with its client gone: the next one has its turn.
  expect(mayTry(FR, atMs + UNREACHED_RETRY_MS)).toBe(true);
  expect(isDoubtful(FR)).toBe(true);
});

test("what answers is as if it had never been missed", () => {
  missed(FR, 1_000);
  reached(FR);
  expect([isDoubtful(FR), isMissed(FR, 1_001), mayTry(FR, 1_001), mayTry(FR, 1_001)]).toEqual([
    ...[false, false, true, true],
  ]);
});

test("objects and gates are known apart, and no more of them than the bound", () => {
  missed(objectOf("fr", "m", 0), 1_000);
  expect(isMissed(FR, 1_001)).toBe(false);
  expect(isMissed(objectOf("fr", "m", 1), 1_001)).toBe(false);
  for (let at = 0; at < 2 * UNREACHED_MAX; at++) missed(`gates/${at}`, 1_000);
  expect(isMissed(objectOf("fr", "m", 0), 1_001)).toBe(false);
  expect(isMissed(`gates/${2 * UNREACHED_MAX - 1}`, 1_001)).toBe(true);
});
