import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { cancel, expire, report, reserve } from "../../../src/limits/ledger.ts";
import type { BudgetReport } from "../../../src/limits/messages.ts";
import { elect, race } from "../../../src/limits/race.ts";
import { spentTokens } from "../../../src/limits/window.ts";
import { ASK, MemoryBook, tenantRecord } from "../../support/tenant.ts";

const LIMITS = { tokensPerMinute: 1_000_000, concurrentRequests: 10 };

function admitted(): MemoryBook {
  const book = new MemoryBook(tenantRecord(LIMITS));
  book.apply(reserve(book, { ...ASK, requestId: "a" }, 0).change);
  return book;
}

function racing(): MemoryBook {
  const book = admitted();
  const change = race(book, "a", [0, 1], 0);
  expect(change).not.toBeNull();
  book.apply(change);
  return book;
}

function said(attempt: number, promptTokens: number, outputTokens: number, final: boolean): BudgetReport {
  const usage = { promptTokens, cachedTokens: 0, outputTokens };
  const pace = { tokensPerSecond: 0, unsent: false };
  return { requestId: "a", keyId: ASK.keyId, model: "m", attempt, usage, final, ...pace };
}

const REST = { heldTokens: 0, heldRequests: 0, open: 0 };

describe("two attempts for one answer", () => {
  it("charge the one that made it, whichever reports first", () => {
    const steps = [
      (book: MemoryBook) => elect(book, "a", 1, 0),
      (book: MemoryBook) => report(book, said(0, 10, 0, true), 0).change,
      (book: MemoryBook) => report(book, said(1, 10, 20, false), 0).change,
      (book: MemoryBook) => report(book, said(1, 10, 50, true), 0).change,
    ];
    const orders = fc.shuffledSubarray([0, 1, 2, 3], { minLength: 4 });
    fc.assert(
      fc.property(orders, (order) => {
        const book = racing();
        for (const step of order) book.apply(steps[step]!(book));
        expect(book.settled).toEqual({ promptTokens: 10, cachedTokens: 0, outputTokens: 50 });
        expect(book.account("tenant")).toMatchObject(REST);
        expect(book.counted).toBe(1);
      }),
    );
  });

  it("settle nothing while it is not known which one made it, and hold the place", () => {
    const book = racing();
    book.apply(report(book, said(0, 10, 30, true), 0).change);
    book.apply(report(book, said(1, 10, 40, true), 0).change);
    expect(book.settled.outputTokens).toBe(0);
    expect(book.account("tenant")).toMatchObject({ open: 1 });
  });

  it("are not begun once one of them is on the bill, or the request is over", () => {
    const book = admitted();
    book.apply(report(book, said(0, 10, 1, false), 0).change);
    expect(race(book, "a", [0, 1], 0)).toBeNull();
    const over = admitted();
    over.apply(cancel(over, "a", 0));
    expect(race(over, "a", [0, 1], 0)).toBeNull();
  });

  it("charge one where nobody ever says who made it: the one that cost most", () => {
    const book = racing();
    book.apply(report(book, said(0, 10, 5, true), 0).change);
    book.apply(report(book, said(1, 10, 70, true), 0).change);
    book.apply(expire(book, "a", 10 * 60_000));
    expect(book.settled).toEqual({ promptTokens: 10, cachedTokens: 0, outputTokens: 70 });
    expect(book.account("tenant")).toMatchObject(REST);
  });

  it("cost nothing when both failed, and one when its client left both", () => {
    const failed = racing();
    failed.apply(cancel(failed, "a", 0));
    expect(failed.reservations.get("a")).toMatchObject({ state: "void" });
    expect(failed.account("tenant")).toMatchObject(REST);

    const left = racing();
    left.apply(cancel(left, "a", 0));
    left.apply(elect(left, "a", 0, 0));
    left.apply(report(left, said(0, 10, 0, true), 0).change);
    left.apply(report(left, said(1, 10, 0, true), 0).change);
    expect(left.settled).toEqual({ promptTokens: 10, cachedTokens: 0, outputTokens: 0 });
    expect(left.account("tenant")).toMatchObject(REST);
    expect(left.counted).toBe(1);
  });

  it("take from the account what is on the bill, also where the request was closed while they raced", () => {
    const book = racing();
    book.apply(report(book, said(1, 10, 40, false), 0).change);
    book.apply(cancel(book, "a", 0));
    book.apply(elect(book, "a", 1, 0));
    expect(book.settled).toMatchObject({ promptTokens: 10, outputTokens: 40 });
    expect(spentTokens(book.account("tenant")!.day)).toBe(50);
  });

  it("leave a third attempt, after both failed, to be charged as any", () => {
    const book = racing();
    book.apply(report(book, said(2, 10, 9, true), 0).change);
    expect(book.settled.outputTokens).toBe(9);
    expect(book.account("tenant")).toMatchObject(REST);
  });
});
