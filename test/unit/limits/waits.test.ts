import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { REPORT_INTERVAL_MS } from "../../../src/bounds.ts";
import { type Account, newAccount, refusal } from "../../../src/limits/account.ts";
import { RECALL_WAIT_MS } from "../../../src/limits/bounds.ts";
import { NONE } from "../../../src/limits/lease.ts";
import { cancel, expire, report, reserve } from "../../../src/limits/ledger.ts";
import type { BudgetReport } from "../../../src/limits/messages.ts";
import { spentTokens } from "../../../src/limits/window.ts";
import { ASK, MemoryBook, tenantRecord } from "../../support/tenant.ts";

const PER_MINUTE = 60_000;
const LIMITS = { tokensPerMinute: PER_MINUTE };

/** An account with so many tokens left, and so many leased to other locations. */
function accountWith(leftTokens: number, leasedTokens: number): Account {
  const fresh = newAccount("tenant", LIMITS, 0);
  const tokens = { ...fresh.tokens, levelUnits: leftTokens * 60_000 };
  return { ...fresh, tokens, leased: { ...NONE, tokens: leasedTokens } };
}

function retryAfterMs(account: Account, tokens: number): number {
  const refused = refusal(account, LIMITS, { tokens, leastTokens: tokens }, 0);
  if (refused?.tag !== "rate_limited") throw new Error(`not refused for now: ${JSON.stringify(refused)}`);
  return refused.retryAfterMs;
}

describe("how long a refused client is told to wait", () => {
  it("is a recall's time where other locations hold what is missing", () => {
    expect(retryAfterMs(accountWith(1_000, 20_000), 10_000)).toBe(RECALL_WAIT_MS);
    expect(retryAfterMs(accountWith(1_000, 9_000), 10_000)).toBe(RECALL_WAIT_MS);
  });

  it("is the refill's where that is sooner, or where they hold too little", () => {
    expect(retryAfterMs(accountWith(9_000, 20_000), 10_000)).toBe(1_000);
    expect(retryAfterMs(accountWith(1_000, 8_999), 10_000)).toBe(9_000);
  });

  it("is never longer for what others hold, except until the next report settles it", () => {
    const tokens = fc.integer({ min: 0, max: 30_000 });
    fc.assert(
      fc.property(tokens, tokens, fc.integer({ min: 1, max: PER_MINUTE }), (left, leased, asked) => {
        fc.pre(left < asked);
        const alone = retryAfterMs(accountWith(left, 0), asked);
        const shared = retryAfterMs(accountWith(left, leased), asked);
        expect(shared).toBeLessThanOrEqual(alone + REPORT_INTERVAL_MS);
        if (left + leased >= asked) expect(shared).toBeLessThanOrEqual(RECALL_WAIT_MS + REPORT_INTERVAL_MS);
      }),
    );
  });
});

describe("a report that comes when its reservation is void", () => {
  const LATE_MS = 10 * 60_000;

  function said(outputTokens: number, final: boolean): BudgetReport {
    const usage = { promptTokens: 10, cachedTokens: 0, outputTokens };
    const pace = { tokensPerSecond: 0, unsent: false };
    return { requestId: "a", keyId: ASK.keyId, model: "m", attempt: 0, usage, final, ...pace };
  }

  it.each([
    ["its deadline passed", (book: MemoryBook) => expire(book, "a", LATE_MS)],
    ["it was cancelled", (book: MemoryBook) => cancel(book, "a", LATE_MS)],
  ] as const)("is debt, charged once and held by nobody: %s", (_, end) => {
    const book = new MemoryBook(tenantRecord({ tokensPerMinute: 300, requestsPerMinute: 5 }));
    book.apply(reserve(book, { ...ASK, requestId: "a" }, 0).change);
    book.apply(end(book));
    expect(book.reservation("a")).toMatchObject({ state: "void", heldTokens: 0 });
    for (const message of [said(200, false), said(500, true), said(500, true), said(200, false)])
      book.apply(report(book, message, LATE_MS).change);
    expect(book.settled).toEqual({ promptTokens: 10, cachedTokens: 0, outputTokens: 500 });
    expect(book.counted).toBe(1);
    const account = book.account("tenant")!;
    expect(account).toMatchObject({ heldTokens: 0, heldRequests: 0, open: 0 });
    expect(account.tokens.levelUnits).toBe((300 - 510) * 60_000);
    expect(spentTokens(account.day)).toBe(510);
    // The request was given back with the reservation.
    expect(account.requests.levelUnits).toBe(5 * 60_000);
    expect(reserve(book, { ...ASK, requestId: "b" }, LATE_MS).answer.ok).toBe(false);
  });
});
