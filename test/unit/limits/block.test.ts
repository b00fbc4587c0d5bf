import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { EVEN_WEIGHTS, type Limits } from "../../../src/catalogue.ts";
import { settleTime } from "../../../src/limits/account.ts";
import { closeBlock, expireBlock, grantBlock } from "../../../src/limits/block.ts";
import { BLOCK_USE_MS } from "../../../src/limits/bounds.ts";
import { available } from "../../../src/limits/bucket.ts";
import { cancel, expire, finish, report, reserve } from "../../../src/limits/ledger.ts";
import type { BlockAsk, BudgetReport } from "../../../src/limits/messages.ts";
import { elect, race } from "../../../src/limits/race.ts";
import { hasRun } from "../../../src/limits/reservation.ts";
import { spentTokens } from "../../../src/limits/window.ts";
import { ASK, MemoryBook, tenantRecord } from "../../support/tenant.ts";

const LIMITS = {
  tokensPerMinute: 1_000_000,
  tokensPerDay: 50_000_000,
  requestsPerMinute: 100_000,
  concurrentRequests: 10_000,
};
const BLOCK: BlockAsk = {
  ...{ id: "b", from: "enam", keyId: ASK.keyId, secretHash: ASK.secretHash, model: "m" },
  ...{ weights: EVEN_WEIGHTS, requests: 10, tokens: 1_000 },
};

function granted(book: MemoryBook, more: Partial<BlockAsk> = {}, nowMs = 0) {
  const { answer, change } = grantBlock(book, { ...BLOCK, ...more }, nowMs);
  book.applyBlock(change);
  return answer;
}

function said(requestId: string, outputTokens: number, final: boolean, tokens = 100): BudgetReport {
  const usage = { promptTokens: 10, cachedTokens: 0, outputTokens };
  return {
    ...{ requestId, keyId: ASK.keyId, model: "m", attempt: 0, usage, final },
    ...{ tokensPerSecond: 50, unsent: false, block: { id: "b", tokens } },
  };
}

describe("a block", () => {
  it("holds its tokens, requests and places as the reservations would that it stands for (I1)", () => {
    const book = new MemoryBook(tenantRecord(LIMITS));
    expect(granted(book)).toMatchObject({ ok: true, tokens: 1_000, requests: 10, useMs: BLOCK_USE_MS });
    const account = book.account("tenant")!;
    expect(account).toMatchObject({ heldTokens: 1_000, heldRequests: 10, open: 10 });
    expect(available(account.tokens)).toBe(999_000);
    expect(available(account.requests)).toBe(99_990);
  });

  it("is granted once, however often it is asked for", () => {
    const book = new MemoryBook(tenantRecord(LIMITS));
    const first = granted(book);
    const before = structuredClone([...book.accounts]);
    expect(granted(book)).toEqual(first);
    expect([...book.accounts]).toEqual(before);
  });

  it("moves what a request holds to a reservation of its own at the first word of it, and draws nothing", () => {
    const book = new MemoryBook(tenantRecord(LIMITS));
    granted(book);
    book.apply(report(book, said("a", 5, false), 10).change);
    expect(book.reservation("a")).toMatchObject({ state: "open", settledTokens: 15, heldTokens: 150 });
    expect(book.block("b")).toMatchObject({ heldTokens: 900, heldRequests: 9 });
    expect(book.account("tenant")).toMatchObject({ heldTokens: 1_050, heldRequests: 9, open: 10 });
    book.apply(report(book, said("a", 30, true), 20).change);
    book.apply(report(book, said("a", 30, true), 20).change);
    expect(book.account("tenant")).toMatchObject({ heldTokens: 900, heldRequests: 9, open: 9 });
    expect(book.settled).toEqual({ promptTokens: 10, cachedTokens: 0, outputTokens: 30 });
    expect(book.counted).toBe(1);
  });

  it("gives back at once what the isolate says it did not admit, and waits for the rest", () => {
    const book = new MemoryBook(tenantRecord(LIMITS));
    granted(book);
    book.applyBlock(closeBlock(book, { id: "b", requests: 3, tokens: 300 }, 5));
    expect(closeBlock(book, { id: "b", requests: 0, tokens: 0 }, 5)).toBeNull();
    expect(book.account("tenant")).toMatchObject({ heldTokens: 300, heldRequests: 3, open: 3 });
    for (const id of ["x", "y", "z"]) book.apply(report(book, said(id, 7, true), 10).change);
    expect(book.block("b")).toMatchObject({ state: "over", heldTokens: 0, heldRequests: 0 });
    expect(book.account("tenant")).toMatchObject({ heldTokens: 0, heldRequests: 0, open: 0 });
    expect(granted(book)).toEqual({ ok: false, failure: null });
  });

  it("of an isolate that died is free again at its deadline and not before; later reports are debt", () => {
    const book = new MemoryBook(tenantRecord(LIMITS));
    granted(book);
    const { deadlineMs } = book.block("b")!;
    expect(expireBlock(book, "b", deadlineMs - 1)).toBeNull();
    book.applyBlock(expireBlock(book, "b", deadlineMs));
    expect(book.account("tenant")).toMatchObject({ heldTokens: 0, heldRequests: 0, open: 0 });
    book.apply(report(book, said("late", 90, true), deadlineMs).change);
    const account = book.account("tenant")!;
    expect(account).toMatchObject({ heldTokens: 0, heldRequests: 0, open: 0 });
    expect(spentTokens(account.day)).toBe(100);
    expect(available(account.tokens)).toBe(1_000_000 - 100);
  });

  it("lets a request be cancelled or finished before any word of it came", () => {
    const book = new MemoryBook(tenantRecord(LIMITS));
    granted(book);
    const claim = { id: "b", tokens: 100 };
    book.apply(cancel(book, "c", 1, claim));
    book.apply(finish(book, "f", 1, claim));
    expect(cancel(book, "c", 1, claim)).toBeNull();
    expect(book.reservation("c")).toMatchObject({ state: "void" });
    expect(book.account("tenant")).toMatchObject({ heldTokens: 900, heldRequests: 9, open: 8 });
    expect(cancel(book, "unknown", 1)).toBeNull();
  });

  it("lets two attempts race before any word of their request came, and charges it once", () => {
    const book = new MemoryBook(tenantRecord(LIMITS));
    granted(book);
    const claim = { id: "b", tokens: 100 };
    book.apply(race(book, "a", [0, 1], 1, claim));
    expect(book.block("b")).toMatchObject({ heldTokens: 900, heldRequests: 9 });
    expect(book.account("tenant")).toMatchObject({ heldTokens: 1_000, heldRequests: 10, open: 10 });
    book.apply(report(book, said("a", 20, true), 2).change);
    expect(book.account("tenant")).toMatchObject({ heldRequests: 9 });
    book.apply(elect(book, "a", 1, 3));
    book.apply(report(book, { ...said("a", 30, true), attempt: 1 }, 4).change);
    expect(book.account("tenant")).toMatchObject({ heldTokens: 900, heldRequests: 9, open: 9 });
    expect(book.settled).toEqual({ promptTokens: 10, cachedTokens: 0, outputTokens: 30 });
    expect(book.counted).toBe(1);
    expect(race(book, "unknown", [0, 1], 5, { id: "gone", tokens: 100 })).toBeNull();
  });

  it("tells of its key what every admission tells", () => {
    const book = new MemoryBook(tenantRecord(LIMITS, { key: { priority: "batch" } }));
    const answer = granted(book);
    const asked = reserve(book, { ...ASK, requestId: "a" }, 0).answer;
    expect(answer.ok && asked.ok && answer.profile).toEqual(asked.ok && asked.profile);
  });

  it.each<[string, Limits, Partial<BlockAsk>]>([
    ["few tokens are left", { tokensPerMinute: 10_000 }, {}],
    ["few places are left", { concurrentRequests: 100 }, {}],
    ["few requests are left", { requestsPerMinute: 100 }, {}],
    ["few tokens are left of the day", { tokensPerDay: 10_000 }, {}],
    ["it would be too small to be worth a row", LIMITS, { requests: 7 }],
  ])("is not granted where %s", (_, limits, more) => {
    const book = new MemoryBook(tenantRecord(limits));
    expect(granted(book, more)).toEqual({ ok: false, failure: null });
    expect(book.accounts.size).toBe(0);
  });

  it("is sized by the tightest scope, and refused to a key that is revoked", () => {
    const tight = { key: { limits: { tokensPerMinute: 45_000 } } };
    const book = new MemoryBook(tenantRecord(LIMITS, tight));
    expect(granted(book)).toMatchObject({ ok: true, tokens: 900, requests: 9 });
    expect(book.account(`key:${ASK.keyId}`)).toMatchObject({ heldTokens: 900, open: 9 });
    book.record = tenantRecord(LIMITS, { key: { revokedAtMs: 1 } });
    expect(granted(book, { id: "next" })).toMatchObject({ ok: false, failure: { tag: "revoked_key" } });
  });
});

const act = fc.oneof(
  fc.record({ kind: fc.constant("grant" as const), block: fc.nat(1) }),
  fc.record({
    kind: fc.constant("report" as const),
    attempt: fc.nat(2),
    final: fc.boolean(),
    id: fc.nat(2),
    tokens: fc.nat(300),
  }),
  fc.record({ kind: fc.constant("cancel" as const), id: fc.nat(2) }),
  fc.record({ kind: fc.constant("finish" as const), id: fc.nat(2) }),
  fc.record({ kind: fc.constant("race" as const), id: fc.nat(2), first: fc.nat(1) }),
  fc.record({ kind: fc.constant("elect" as const), id: fc.nat(2), winner: fc.nat(2) }),
  fc.record({ kind: fc.constant("told" as const), block: fc.nat(1), requests: fc.nat(10) }),
  fc.record({ kind: fc.constant("reserve" as const), id: fc.nat(2) }),
  fc.record({ kind: fc.constant("pass" as const), ms: fc.nat(120_000) }),
);

describe("blocks and reservations in any order", () => {
  it("hold what they say they hold, and all of it comes back (I1, I2, I7, L1)", () => {
    fc.assert(
      fc.property(fc.array(act, { maxLength: 40, size: "max" }), (acts) => {
        const book = new MemoryBook(tenantRecord(LIMITS));
        let nowMs = 0;
        for (const one of acts) {
          const claim = "id" in one ? { id: `b${one.id % 2}`, tokens: 100 } : undefined;
          const id = "id" in one ? `r${one.id}` : "";
          if (one.kind === "grant") granted(book, { id: `b${one.block}` }, nowMs);
          else if (one.kind === "reserve") book.apply(reserve(book, { ...ASK, requestId: id }, nowMs).change);
          else if (one.kind === "cancel") book.apply(cancel(book, id, nowMs, claim));
          else if (one.kind === "finish") book.apply(finish(book, id, nowMs, claim));
          else if (one.kind === "race") book.apply(race(book, id, [one.first, one.first + 1], nowMs, claim));
          else if (one.kind === "elect") book.apply(elect(book, id, one.winner, nowMs));
          else if (one.kind === "told") {
            const told = { id: `b${one.block}`, requests: one.requests, tokens: one.requests * 100 };
            book.applyBlock(closeBlock(book, told, nowMs));
          } else if (one.kind === "pass") nowMs += one.ms;
          else {
            const message = { ...said(id, one.tokens, one.final), attempt: one.attempt, block: claim! };
            book.apply(report(book, message, nowMs).change);
          }
          expectHeld(book);
        }
        nowMs += 10 * 60_000;
        for (const id of book.blocks.keys()) book.applyBlock(expireBlock(book, id, nowMs));
        for (const id of book.reservations.keys()) book.apply(expire(book, id, nowMs));
        const account = book.account("tenant");
        if (!account) return;
        expect(account).toMatchObject({ heldTokens: 0, heldRequests: 0, open: 0 });
        const { promptTokens, outputTokens } = book.settled;
        expect(spentTokens(account.day)).toBe(promptTokens + outputTokens);
        const rested = settleTime(account, LIMITS, nowMs + 60_000);
        expect(available(rested.tokens)).toBe(1_000_000);
        expect(available(rested.requests)).toBe(100_000);
      }),
      { numRuns: 1_000 },
    );
  });
});

function expectHeld(book: MemoryBook): void {
  const account = book.account("tenant");
  if (!account) return;
  const sum = { heldTokens: 0, heldRequests: 0, open: 0 };
  for (const { heldRequests, heldTokens, state } of book.blocks.values()) {
    expect(state === "over" ? heldTokens + heldRequests : 0).toBe(0);
    sum.heldTokens += heldTokens;
    sum.heldRequests += heldRequests;
    sum.open += heldRequests;
  }
  for (const reservation of book.reservations.values()) {
    sum.heldTokens += reservation.heldTokens;
    sum.heldRequests += reservation.state === "open" && !hasRun(reservation) ? 1 : 0;
    sum.open += reservation.running ? 1 : 0;
  }
  expect(account).toMatchObject(sum);
  const potential = available(account.tokens) + account.heldTokens;
  expect(potential).toBeLessThanOrEqual(LIMITS.tokensPerMinute);
}
