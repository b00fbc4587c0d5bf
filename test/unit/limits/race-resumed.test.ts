import fc from "fast-check";
import { expect, it } from "vitest";
import { cancel, expire, report, reserve } from "../../../src/limits/ledger.ts";
import type { BudgetReport } from "../../../src/limits/messages.ts";
import { elect, race } from "../../../src/limits/race.ts";
import { ASK, MemoryBook, tenantRecord } from "../../support/tenant.ts";

/** A hedged stream whose winner breaks off: two attempts raced, a third one carries on what the first of them began. */

function racing(): MemoryBook {
  const book = new MemoryBook(tenantRecord({ tokensPerMinute: 1_000_000, concurrentRequests: 10 }));
  book.apply(reserve(book, { ...ASK, requestId: "a" }, 0).change);
  book.apply(race(book, "a", [0, 1], 0));
  return book;
}

function said(attempt: number, promptTokens: number, outputTokens: number, final: boolean): BudgetReport {
  const usage = { promptTokens, cachedTokens: 0, outputTokens };
  return {
    ...{ requestId: "a", keyId: ASK.keyId, model: "m", attempt, usage, final },
    ...{ tokensPerSecond: 0, unsent: false },
  };
}

const STEPS = [
  (book: MemoryBook) => elect(book, "a", 0, 0),
  // The winner's gate was cut off: its last report leaves the request open. Gate two may tell the same again.
  (book: MemoryBook) => report(book, said(0, 10, 7, false), 0).change,
  (book: MemoryBook) => report(book, said(0, 10, 7, false), 0).change,
  // The loser was given up, with tokens that nobody got.
  (book: MemoryBook) => report(book, said(1, 10, 3, true), 0).change,
  (book: MemoryBook) => report(book, said(2, 0, 20, false), 0).change,
  (book: MemoryBook) => report(book, said(2, 0, 33, true), 0).change,
];

it("is paid for once, in whichever order all is told", () => {
  const orders = fc.shuffledSubarray(
    STEPS.map((_, step) => step),
    { minLength: STEPS.length },
  );
  fc.assert(
    fc.property(orders, (order) => {
      const book = racing();
      for (const step of order) book.apply(STEPS[step]!(book));
      expect(book.settled).toEqual({ promptTokens: 10, cachedTokens: 0, outputTokens: 40 });
      expect(book.account("tenant")).toMatchObject({ heldTokens: 0, heldRequests: 0, open: 0 });
      expect(book.counted).toBe(1);
    }),
    { numRuns: 300 },
  );
});

it("costs what was delivered where its client leaves in the pause", () => {
  fc.assert(
    fc.property(fc.nat(2), (at) => {
      const book = racing();
      const steps = STEPS.slice(0, 2);
      steps.splice(at, 0, (one) => cancel(one, "a", 0));
      for (const step of steps) book.apply(step(book));
      expect(book.settled).toEqual({ promptTokens: 10, cachedTokens: 0, outputTokens: 7 });
      expect(book.account("tenant")).toMatchObject({ heldTokens: 0, open: 0 });
      book.apply(expire(book, "a", 10 * 60_000));
      expect(book.settled.outputTokens).toBe(7);
    }),
  );
});
