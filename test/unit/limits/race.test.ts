import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { REPORT_SILENCE_MAX_MS } from "../../../src/bounds.ts";
import { RACE_WORD_MS } from "../../../src/limits/bounds.ts";
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
    book.apply(elect(book, "a", 1, 0));
    book.apply(report(book, said(2, 10, 9, true), 0).change);
    expect(book.settled.outputTokens).toBe(9);
    expect(book.account("tenant")).toMatchObject(REST);
  });
});

/** All that was reported of an attempt is on the bill, and nothing is held any more. */
function closedWith(book: MemoryBook, promptTokens: number, outputTokens: number): void {
  expect(book.settled).toEqual({ promptTokens, cachedTokens: 0, outputTokens });
  expect(book.account("tenant")).toMatchObject(REST);
  expect(spentTokens(book.account("tenant")!.day)).toBe(promptTokens + outputTokens);
}

describe("two attempts that have both ended, and nobody says which one made the answer", () => {
  const ENDED_MS = 5_000;
  const DUE_MS = ENDED_MS + RACE_WORD_MS;

  function ended(): MemoryBook {
    const book = racing();
    book.apply(report(book, said(0, 10, 70, true), 1_000).change);
    book.apply(report(book, said(1, 10, 5, true), ENDED_MS).change);
    return book;
  }

  it("wait for that word only as long as it may be on its way, then the costlier one pays", () => {
    const book = ended();
    expect(RACE_WORD_MS).toBeLessThan(REPORT_SILENCE_MAX_MS);
    expect(expire(book, "a", DUE_MS - 1)).toBeNull();
    book.apply(expire(book, "a", DUE_MS));
    closedWith(book, 10, 70);
    expect(book.counted).toBe(1);
  });

  it("charge the one that is named in time, the cheaper one too", () => {
    const book = ended();
    book.apply(elect(book, "a", 1, DUE_MS - 1));
    closedWith(book, 10, 5);
    expect(expire(book, "a", DUE_MS)).toBeNull();
  });

  it("charge nobody anew for a word that comes later, or for reports that are told again", () => {
    const book = ended();
    book.apply(expire(book, "a", DUE_MS));
    expect(elect(book, "a", 1, DUE_MS + 1)).toBeNull();
    for (const again of [said(0, 10, 70, true), said(1, 10, 5, true)])
      book.apply(report(book, again, DUE_MS + 2).change);
    closedWith(book, 10, 70);
  });

  it("are not waited for any longer because a last report is told again", () => {
    const book = ended();
    book.apply(report(book, said(1, 10, 5, true), ENDED_MS + 4_000).change);
    expect(book.reservation("a")!.deadlineMs).toBe(DUE_MS);
  });

  it("wait as ever while one of them may go on", () => {
    const book = racing();
    book.apply(report(book, said(0, 10, 70, true), ENDED_MS).change);
    expect(expire(book, "a", ENDED_MS + REPORT_SILENCE_MAX_MS - 1)).toBeNull();
  });

  it("wait as ever while a third one runs", () => {
    const book = ended();
    book.apply(report(book, said(2, 0, 9, false), ENDED_MS + 1).change);
    expect(expire(book, "a", ENDED_MS + REPORT_SILENCE_MAX_MS)).toBeNull();
  });

  it("are charged also where another one carried the stream on to its end", () => {
    const book = racing();
    book.apply(report(book, said(1, 10, 30, false), 0).change);
    book.apply(report(book, said(2, 0, 9, true), ENDED_MS).change);
    expect(book.reservation("a")).toMatchObject({ state: "open" });
    book.apply(expire(book, "a", DUE_MS));
    closedWith(book, 10, 39);
  });
});

describe("two attempts of which nothing was heard when one that carried the stream on has ended", () => {
  it("are waited for as long as word may be on its way, and the first to be heard of then is charged as well", () => {
    const book = racing();
    book.apply(report(book, said(2, 0, 9, true), 0).change);
    expect(book.reservation("a")).toMatchObject({ state: "open", deadlineMs: RACE_WORD_MS });
    book.apply(expire(book, "a", RACE_WORD_MS));
    expect(book.reservation("a")).toMatchObject({ state: "settled" });
    // Reports that a gate could not deliver, and the clock has stepped back meanwhile.
    book.apply(report(book, said(2, 0, 9, true), RACE_WORD_MS - 5_000).change);
    book.apply(report(book, said(1, 10, 40, false), RACE_WORD_MS - 5_000).change);
    book.apply(report(book, said(1, 10, 50, true), RACE_WORD_MS - 4_000).change);
    book.apply(report(book, said(0, 10, 90, true), RACE_WORD_MS).change);
    closedWith(book, 10, 59);
    expect(book.counted).toBe(1);
  });
});

describe("two attempts of which nothing is heard in time", () => {
  const VOID_MS = 10 * 60_000;

  function silent(): MemoryBook {
    const book = racing();
    book.apply(expire(book, "a", VOID_MS));
    expect(book.reservation("a")).toMatchObject({ state: "void" });
    expect(book.account("tenant")).toMatchObject(REST);
    return book;
  }

  it.each([0, 1])("charge the one that reports late, as debt and once: %i", (attempt) => {
    const book = silent();
    for (let times = 0; times < 2; times += 1)
      book.apply(report(book, said(attempt, 10, 40, true), VOID_MS + 1).change);
    book.apply(report(book, said(1 - attempt, 10, 90, true), VOID_MS + 2).change);
    closedWith(book, 10, 40);
    expect(book.counted).toBe(1);
  });

  it("leave that open where only a later attempt reports", () => {
    const book = silent();
    book.apply(report(book, said(2, 10, 7, true), VOID_MS + 1).change);
    book.apply(report(book, said(1, 10, 40, true), VOID_MS + REPORT_SILENCE_MAX_MS + 1).change);
    closedWith(book, 20, 47);
  });

  it("charge the one that is named late", () => {
    const book = silent();
    book.apply(elect(book, "a", 1, VOID_MS + 1));
    book.apply(report(book, said(0, 10, 90, true), VOID_MS + 2).change);
    book.apply(report(book, said(1, 10, 40, true), VOID_MS + 3).change);
    closedWith(book, 10, 40);
    expect(book.counted).toBe(1);
  });

  it("count as one request where word comes after a report, and before the last one", () => {
    const book = racing();
    book.apply(cancel(book, "a", 0));
    book.apply(report(book, said(1, 10, 20, false), 1).change);
    expect(book.counted).toBe(0);
    book.apply(elect(book, "a", 1, 2));
    expect(book.counted).toBe(1);
    book.apply(report(book, said(1, 10, 40, true), 3).change);
    closedWith(book, 10, 40);
    expect(book.counted).toBe(1);
  });
});

describe("while two attempts race", () => {
  it("what may be charged is held, so that the budget is not spent twice however long that takes", () => {
    const book = racing();
    for (const tokens of [100, 2_000, 9_000]) {
      book.apply(report(book, said(0, 10, tokens, false), tokens).change);
      book.apply(report(book, said(1, 10, tokens / 2, false), tokens).change);
      expect(book.settled.outputTokens).toBe(0);
      expect(book.reservation("a")!.heldTokens).toBeGreaterThanOrEqual(10 + tokens);
    }
    book.apply(elect(book, "a", 1, 9_001));
    book.apply(report(book, said(1, 10, 4_500, true), 9_002).change);
    closedWith(book, 10, 4_500);
  });

  it("any order of words, reports and deadlines charges one of them, and never more than it made", () => {
    type Step = { kind: "elect" | "expire" | "report"; attempt: number; part: number; final: boolean };
    const step: fc.Arbitrary<Step & { waitMs: number }> = fc.record({
      kind: fc.constantFrom("elect", "expire", "report", "report", "report"),
      attempt: fc.nat(1),
      part: fc.nat(10),
      final: fc.boolean(),
      waitMs: fc.constantFrom(0, 500, 6_000, 61_000),
    });
    const made = [300, 500];
    fc.assert(
      fc.property(fc.array(step, { maxLength: 25 }), fc.nat(1), (steps, winner) => {
        const book = racing();
        let nowMs = 0;
        let before = 0;
        for (const { attempt, final, kind, part, waitMs } of steps) {
          nowMs += waitMs;
          const output = final ? made[attempt]! : (made[attempt]! * part) / 10;
          if (kind === "elect") book.apply(elect(book, "a", winner, nowMs));
          else if (kind === "expire") book.apply(expire(book, "a", nowMs));
          else book.apply(report(book, said(attempt, 10, output, final), nowMs).change);
          const { attempts, heldTokens, settledTokens, state } = book.reservation("a")!;
          expect(settledTokens).toBeGreaterThanOrEqual(before);
          before = settledTokens;
          const charged = attempts.findIndex(({ lost, racing }) => !lost && !racing);
          expect(settledTokens).toBeLessThanOrEqual(charged < 0 ? 0 : 10 + made[charged]!);
          expect(book.account("tenant")).toMatchObject({ heldTokens, open: state === "open" ? 1 : 0 });
          expect(book.counted).toBeLessThanOrEqual(1);
        }
      }),
    );
  });
});
