import { describe, expect, it } from "vitest";
import { available } from "../../../src/limits/bucket.ts";
import { cancel, report, reserve } from "../../../src/limits/ledger.ts";
import type { BudgetReport } from "../../../src/limits/messages.ts";
import { ASK, MemoryBook, tenantRecord } from "../../support/tenant.ts";

const LIMITS = { tokensPerMinute: 1_000, concurrentRequests: 10 };

function admit(book: MemoryBook): void {
  book.apply(reserve(book, { ...ASK, requestId: "a" }, 0).change);
}

function said(
  promptTokens: number,
  outputTokens: number,
  final: boolean,
  attempt = 0,
  unsent = false,
): BudgetReport {
  const usage = { promptTokens, cachedTokens: 0, outputTokens };
  return { requestId: "a", keyId: ASK.keyId, model: "m", attempt, usage, final, tokensPerSecond: 50, unsent };
}

describe("an answer that nobody got yet", () => {
  it("holds what nobody got yet, and settles only the attempt whose answer was sent", () => {
    const book = new MemoryBook(tenantRecord(LIMITS));
    admit(book);
    book.apply(report(book, said(10, 400, false, 0, true), 0).change);
    // 410 used, and three seconds at 50 tokens a second ahead.
    expect(book.account("tenant")).toMatchObject({ heldTokens: 560, open: 1 });
    expect(book.settled.outputTokens).toBe(0);
    book.apply(report(book, said(10, 30, true, 1), 0).change);
    expect(book.settled).toEqual({ promptTokens: 10, cachedTokens: 0, outputTokens: 30 });
    expect(book.account("tenant")).toMatchObject({ heldTokens: 0, open: 0 });
  });

  it("gives everything back when all attempts failed unsent, and stops one that outgrows the budget", () => {
    const book = new MemoryBook(tenantRecord({ tokensPerMinute: 300 }, { overdraft: "stop" }));
    admit(book);
    expect(report(book, said(10, 200, false, 0, true), 0).stop).toBe(false);
    const over = report(book, said(10, 290, false, 0, true), 0);
    book.apply(over.change);
    expect(over.stop).toBe(true);
    book.apply(cancel(book, "a", 0));
    expect(available(book.account("tenant")!.tokens)).toBe(300);
    expect(book.counted).toBe(0);
  });

  it("closes a cancelled request at what was reported of it", () => {
    const book = new MemoryBook(tenantRecord(LIMITS));
    admit(book);
    book.apply(report(book, said(10, 20, false), 0).change);
    book.apply(cancel(book, "a", 0));
    expect(book.account("tenant")).toMatchObject({ heldTokens: 0, open: 0 });
    book.apply(report(book, said(10, 25, true), 0).change);
    expect(book.settled).toEqual({ promptTokens: 10, cachedTokens: 0, outputTokens: 25 });
    expect(book.counted).toBe(1);
  });
});
