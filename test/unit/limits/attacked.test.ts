import { describe, expect, it } from "vitest";
import { REPORT_INTERVAL_MS } from "../../../src/bounds.ts";
import { newAccount, refusal } from "../../../src/limits/account.ts";
import { RECALL_WAIT_MS } from "../../../src/limits/bounds.ts";
import { available, take } from "../../../src/limits/bucket.ts";
import { cancel, report, reserve } from "../../../src/limits/ledger.ts";
import type { BudgetReport, ReserveAsk } from "../../../src/limits/messages.ts";
import { draw, NEW_SPENDER } from "../../../src/limits/spender.ts";
import { ASK, MemoryBook, tenantRecord } from "../../support/tenant.ts";

/** An answer that is counted only at its end: no report can extend what it holds, and none can stop it. */
const AT_ONCE = { ...ASK, atOnce: true, choices: 4, maxOutputTokens: 600 } as const;
const LIMITS = { tokensPerMinute: 6_000 };

function admit(book: MemoryBook, requestId: string, ask: ReserveAsk = AT_ONCE) {
  const { answer, change } = reserve(book, { ...ask, requestId }, 0);
  book.apply(change);
  return answer;
}

describe("one JSON that the engine makes alone, of a tenant whose answers stop with its budget", () => {
  it("holds all that it may use from the start", () => {
    const book = new MemoryBook(tenantRecord(LIMITS, { overdraft: "stop" }));
    expect(admit(book, "a")).toMatchObject({ ok: true, reservedTokens: 2_410, outputCapTokens: 600 });
    expect(admit(book, "b")).toMatchObject({ ok: true, reservedTokens: 2_410, outputCapTokens: 600 });
  });

  it("is clamped to what there is, so that no crowd of them uses more than that", () => {
    const book = new MemoryBook(tenantRecord(LIMITS, { overdraft: "stop" }));
    const answers = Array.from({ length: 20 }, (_, index) => admit(book, `r${index}`));
    const most = answers.reduce((sum, answer) => {
      return sum + (answer.ok ? AT_ONCE.promptTokens + AT_ONCE.choices * (answer.outputCapTokens ?? 600) : 0);
    }, 0);
    expect(most).toBeLessThanOrEqual(LIMITS.tokensPerMinute);
    expect(answers.filter(({ ok }) => ok)).toHaveLength(3);
    expect(answers[2]).toMatchObject({ reservedTokens: 1_180, outputCapTokens: 292 });
  });

  it("is not decided by an isolate alone", () => {
    const grant = {
      ok: true,
      ...{ tokens: 9_000, requests: 9, useMs: 1_000, wholeTokens: null, endUsersHaveLimits: false },
      standing: { tokens: null, requests: null, day: null },
      profile: { tenantId: "acme", version: 1, homeHint: "enam", regions: null },
    } as const;
    const drawn = (overdraft: "stop" | "debt", ask: ReserveAsk) => {
      const block = {
        id: "b",
        grant: { ...grant, overdraft },
        leftTokens: 9_000,
        leftRequests: 9,
        sentAtMs: 0,
      };
      return draw({ ...NEW_SPENDER, block }, ask, 1).drawn;
    };
    expect(drawn("stop", AT_ONCE)).toBeNull();
    expect(drawn("stop", ASK)).not.toBeNull();
    expect(drawn("debt", AT_ONCE)).not.toBeNull();
  });

  it("holds a first step like any other where the rest may become debt, or nothing is limited", () => {
    const first = { reservedTokens: 10 + 4 * 256 };
    expect(admit(new MemoryBook(tenantRecord(LIMITS)), "a")).toMatchObject(first);
    expect(admit(new MemoryBook(tenantRecord({}, { overdraft: "stop" })), "a")).toMatchObject(first);
  });
});

describe("requests per minute, while an answer is made of which nobody got anything yet", () => {
  const said = (more: Partial<BudgetReport>): BudgetReport => ({
    ...{ requestId: "a", keyId: ASK.keyId, model: "m", attempt: 0, final: false, unsent: false },
    tokensPerSecond: 50,
    usage: { promptTokens: 10, cachedTokens: 0, outputTokens: 40 },
    ...more,
  });
  const requests = (book: MemoryBook) => book.account("tenant")!;

  it("its request refills from the first word of it on, and is spent once", () => {
    const book = new MemoryBook(tenantRecord({ requestsPerMinute: 2 }));
    admit(book, "a", ASK);
    expect(requests(book).heldRequests).toBe(1);
    for (const more of [{ unsent: true }, { unsent: true }, { final: true }]) {
      book.apply(report(book, said(more), 0).change);
      expect(requests(book).heldRequests).toBe(0);
    }
    expect(available(requests(book).requests)).toBe(1);
  });

  it("is spent also where nothing came of it, and charges no tokens then", () => {
    const book = new MemoryBook(tenantRecord({ requestsPerMinute: 2 }));
    admit(book, "a", ASK);
    book.apply(report(book, said({ unsent: true }), 0).change);
    book.apply(cancel(book, "a", 0));
    expect(requests(book)).toMatchObject({ heldRequests: 0, open: 0, heldTokens: 0 });
    expect(available(requests(book).requests)).toBe(1);
    expect([book.counted, book.settled.outputTokens]).toEqual([0, 0]);
  });

  it("a refusal waits for that word as well, where all that is left is held", () => {
    const book = new MemoryBook(tenantRecord({ requestsPerMinute: 2 }));
    admit(book, "a", ASK);
    admit(book, "b", ASK);
    const waits = () => reserve(book, { ...ASK, requestId: "c" }, 0).answer;
    expect(waits()).toMatchObject({ failure: { retryAfterMs: 30_000 + REPORT_INTERVAL_MS } });
    book.apply(report(book, said({}), 0).change);
    expect(waits()).toMatchObject({ failure: { retryAfterMs: 30_000 } });
  });
});

describe("a refusal for a location with a lease", () => {
  it("does not promise it what its own lease has: only what others have can be called back", () => {
    const limits = { tokensPerMinute: 6_000 };
    const fresh = newAccount("tenant", limits, 0);
    const leased = { tokens: 5_900, requests: 0, slots: 0 };
    const account = { ...fresh, tokens: take(fresh.tokens, 5_900), leased };
    const waits = (ownLeasedTokens: number) =>
      refusal(account, limits, { tokens: 500, leastTokens: 10, ownLeasedTokens }, 0);
    expect(waits(0)).toMatchObject({ retryAfterMs: RECALL_WAIT_MS });
    // 400 tokens are missing, at a hundred a second, and refill once what it used is told.
    expect(waits(5_900)).toMatchObject({ retryAfterMs: 4_000 + REPORT_INTERVAL_MS });
  });
});
