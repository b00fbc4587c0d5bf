import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { settleTime } from "../../../src/limits/account.ts";
import { available } from "../../../src/limits/bucket.ts";
import { cancel, expire, finish, report, reserve } from "../../../src/limits/ledger.ts";
import type { BudgetReport } from "../../../src/limits/messages.ts";
import { spentTokens } from "../../../src/limits/window.ts";
import { ASK, MemoryBook, tenantRecord } from "../../support/tenant.ts";

const LIMITS = {
  tokensPerMinute: 1_000,
  tokensPerDay: 5_000,
  requestsPerMinute: 100,
  concurrentRequests: 10,
};

function said(
  requestId: string,
  promptTokens: number,
  outputTokens: number,
  final: boolean,
  attempt = 0,
  unsent = false,
): BudgetReport {
  return {
    requestId,
    keyId: ASK.keyId,
    model: "m",
    attempt,
    usage: { promptTokens, cachedTokens: 0, outputTokens },
    final,
    tokensPerSecond: 50,
    unsent,
  };
}

function admitted(book: MemoryBook, requestId: string, nowMs: number, promptTokens = 10): boolean {
  const { answer, change } = reserve(book, { ...ASK, requestId, promptTokens }, nowMs);
  book.apply(change);
  return answer.ok;
}

describe("home ledger", () => {
  it("reserves the prompt and a first step, settles what was used, returns the rest", () => {
    const book = new MemoryBook(tenantRecord(LIMITS));
    expect(admitted(book, "a", 0)).toBe(true);
    expect(book.account("tenant")).toMatchObject({ heldTokens: 266, open: 1 });
    book.apply(report(book, said("a", 12, 30, true), 0).change);
    const account = book.account("tenant")!;
    expect(account).toMatchObject({ heldTokens: 0, open: 0 });
    expect(available(account.tokens)).toBe(1_000 - 42);
    expect(spentTokens(account.day)).toBe(42);
    expect(book.settled).toEqual({ promptTokens: 12, cachedTokens: 0, outputTokens: 30 });
    expect(book.counted).toBe(1);
  });

  it("refuses when any limit of any scope is used up, and then charges none", () => {
    const record = tenantRecord(LIMITS, { key: { limits: { requestsPerMinute: 1 } } });
    const book = new MemoryBook(record);
    expect(admitted(book, "a", 0)).toBe(true);
    const before = structuredClone([...book.accounts]);
    const { answer, change } = reserve(book, { ...ASK, requestId: "b" }, 0);
    expect(change).toBeNull();
    expect(answer).toMatchObject({
      ok: false,
      failure: { tag: "rate_limited", scope: "key", dimension: "requests_per_minute", retryAfterMs: 61_000 },
    });
    expect([...book.accounts]).toEqual(before);
  });

  it("tells a request that can never fit that it cannot", () => {
    const book = new MemoryBook(tenantRecord({ tokensPerMinute: 100 }));
    const { answer } = reserve(book, { ...ASK, promptTokens: 101 }, 0);
    expect(answer).toMatchObject({ ok: false, failure: { tag: "request_too_large", limit: 100 } });
  });

  it("bounds the output by the whole budget and admits one of five on a small one", () => {
    const book = new MemoryBook(tenantRecord({ tokensPerMinute: 100 }));
    const answers = ["a", "b", "c", "d", "e"].map((requestId) => {
      const { answer, change } = reserve(book, { ...ASK, requestId, promptTokens: 30 }, 0);
      book.apply(change);
      return answer;
    });
    expect(answers.map(({ ok }) => ok)).toEqual([true, false, false, false, false]);
    expect(answers[0]).toMatchObject({ reservedTokens: 100, outputCapTokens: 70 });
  });

  it("gives the request back as well when nothing ran", () => {
    const book = new MemoryBook(tenantRecord(LIMITS));
    admitted(book, "a", 0);
    book.apply(cancel(book, "a", 0));
    const account = book.account("tenant")!;
    expect(account).toMatchObject({ heldTokens: 0, open: 0 });
    expect(available(account.tokens)).toBe(1_000);
    expect(available(account.requests)).toBe(100);
    expect(cancel(book, "a", 0)).toBeNull();
  });

  it("frees the running place early, once, and settles later all the same", () => {
    const book = new MemoryBook(tenantRecord(LIMITS));
    admitted(book, "a", 0);
    book.apply(finish(book, "a", 0));
    expect(finish(book, "a", 0)).toBeNull();
    expect(book.account("tenant")).toMatchObject({ open: 0, heldTokens: 266 });
    book.apply(report(book, said("a", 10, 5, true), 0).change);
    expect(book.account("tenant")).toMatchObject({ open: 0, heldTokens: 0 });
  });

  it("voids what no gate ever reported on and settles what one did, at the deadline and not before", () => {
    const book = new MemoryBook(tenantRecord(LIMITS));
    admitted(book, "silent", 0);
    admitted(book, "heard", 0);
    book.apply(report(book, said("heard", 10, 7, false), 1_000).change);
    const { deadlineMs } = book.reservation("silent")!;
    expect(expire(book, "silent", deadlineMs - 1)).toBeNull();
    book.apply(expire(book, "silent", deadlineMs));
    book.apply(expire(book, "heard", deadlineMs));
    expect(book.reservation("silent")).toMatchObject({ state: "void", heldTokens: 0 });
    expect(book.reservation("heard")).toMatchObject({ state: "settled", heldTokens: 0 });
    expect(spentTokens(book.account("tenant")!.day)).toBe(17);
  });

  it("stops a stream whose budget is used up, or lets it run into debt, by policy", () => {
    for (const overdraft of ["stop", "debt"] as const) {
      const book = new MemoryBook(tenantRecord({ tokensPerMinute: 300 }, { overdraft }));
      admitted(book, "a", 0);
      expect(report(book, said("a", 10, 100, false), 0).stop).toBe(false);
      const over = report(book, said("a", 10, 400, false), 0);
      book.apply(over.change);
      expect(over.stop).toBe(overdraft === "stop");
      expect(available(book.account("tenant")!.tokens)).toBe(300 - 410);
      expect(admitted(book, "b", 0)).toBe(false);
    }
  });

  it("adds up the attempts of a resumed stream", () => {
    const book = new MemoryBook(tenantRecord(LIMITS));
    admitted(book, "a", 0);
    book.apply(report(book, said("a", 10, 20, false, 0), 0).change);
    book.apply(report(book, said("a", 0, 30, true, 1), 0).change);
    book.apply(report(book, said("a", 10, 25, true, 0), 0).change);
    expect(book.settled).toEqual({ promptTokens: 10, cachedTokens: 0, outputTokens: 55 });
    expect(book.reservation("a")).toMatchObject({ state: "settled", heldTokens: 0 });
  });

  it("refuses revoked, expired and foreign keys and suspended tenants", () => {
    const of = (key: object) => reserve(new MemoryBook(tenantRecord(LIMITS, { key })), ASK, 1_000).answer;
    expect(of({ revokedAtMs: 1 })).toMatchObject({ failure: { tag: "revoked_key" } });
    expect(of({ expiresAtMs: 1_000 })).toMatchObject({ failure: { tag: "revoked_key" } });
    expect(of({ secretHash: "other" })).toMatchObject({ failure: { tag: "invalid_key" } });
    const suspended = tenantRecord(LIMITS);
    const book = new MemoryBook({ ...suspended, tenant: { ...suspended.tenant, suspended: true } });
    expect(reserve(book, ASK, 0).answer).toMatchObject({ failure: { tag: "tenant_suspended" } });
  });
});

type Step =
  | { kind: "reserve"; id: number; prompt: number }
  | {
      kind: "report";
      id: number;
      attempt: number;
      prompt: number;
      output: number;
      final: boolean;
      unsent: boolean;
    }
  | { kind: "finish" | "cancel" | "expire"; id: number }
  | { kind: "wait"; ms: number };

const id = fc.nat(5);
const step: fc.Arbitrary<Step> = fc.oneof(
  fc.record({ kind: fc.constant("reserve" as const), id, prompt: fc.integer({ min: 1, max: 200 }) }),
  fc.record({
    kind: fc.constant("report" as const),
    id,
    attempt: fc.nat(2),
    prompt: fc.nat(200),
    output: fc.nat(600),
    final: fc.boolean(),
    unsent: fc.boolean(),
  }),
  fc.record({ kind: fc.constantFrom("finish" as const, "cancel" as const, "expire" as const), id }),
  fc.record({ kind: fc.constant("wait" as const), ms: fc.nat(120_000) }),
);

function play(book: MemoryBook, steps: readonly Step[]): number {
  let nowMs = 0;
  for (const each of steps) {
    if (each.kind === "wait") nowMs += each.ms;
    else {
      const name = `r${each.id}`;
      if (each.kind === "reserve") admitted(book, name, nowMs, each.prompt);
      if (each.kind === "report") {
        const message = said(name, each.prompt, each.output, each.final, each.attempt, each.unsent);
        book.apply(report(book, message, nowMs).change);
      }
      if (each.kind === "finish") book.apply(finish(book, name, nowMs));
      if (each.kind === "cancel") book.apply(cancel(book, name, nowMs));
      if (each.kind === "expire") book.apply(expire(book, name, nowMs));
    }
    holds(book, nowMs);
  }
  return nowMs;
}

/** What must be true after every step. */
function holds(book: MemoryBook, nowMs: number): void {
  const open = [...book.reservations.values()].filter(({ state }) => state === "open");
  for (const account of book.accounts.values()) {
    const mine = open.filter(({ scopes }) => scopes.includes(account.scope));
    const held = mine.reduce((sum, { heldTokens }) => sum + heldTokens, 0);
    expect(account.heldTokens, "I1: held = Σ open reservations").toBe(held);
    expect(account.open, "running = Σ running reservations").toBe(
      mine.filter(({ running }) => running).length,
    );
    const { levelUnits } = settleTime(account, LIMITS, nowMs).tokens;
    expect(levelUnits / 60_000 + held, "I2: level + held ≤ capacity").toBeLessThanOrEqual(1_000);
  }
  for (const { state, heldTokens } of book.reservations.values()) {
    if (state !== "open") expect(heldTokens, "a closed reservation holds nothing").toBe(0);
  }
}

describe("home ledger, whatever happens", () => {
  it("keeps I1, I2 and its counts through any order of messages", () => {
    fc.assert(
      fc.property(fc.array(step, { maxLength: 80 }), (steps) => {
        play(new MemoryBook(tenantRecord(LIMITS)), steps);
      }),
      { numRuns: 400 },
    );
  });

  it("settles each token once: lost, repeated and reordered reports end the same (I7)", () => {
    const reports = fc.array(fc.record({ prompt: fc.nat(100), output: fc.nat(100), final: fc.boolean() }), {
      minLength: 1,
      maxLength: 12,
    });
    fc.assert(
      fc.property(reports, fc.array(fc.nat(11), { maxLength: 30 }), (list, order) => {
        let prompt = 0;
        let output = 0;
        const cumulative = list.map((one, index) => {
          prompt += one.prompt;
          output += one.output;
          return said("a", prompt, output, index === list.length - 1);
        });
        const book = new MemoryBook(tenantRecord(LIMITS));
        admitted(book, "a", 0);
        for (const at of order) book.apply(report(book, cumulative[at % cumulative.length]!, 0).change);
        book.apply(report(book, cumulative.at(-1)!, 0).change);
        for (const at of order) book.apply(report(book, cumulative[at % cumulative.length]!, 0).change);
        expect(book.settled).toEqual({ promptTokens: prompt, cachedTokens: 0, outputTokens: output });
        expect(book.reservation("a")).toMatchObject({ state: "settled", heldTokens: 0 });
        expect(book.counted).toBe(1);
      }),
    );
  });

  it("admits at most capacity + rate · T + overrun in every interval (I2)", () => {
    fc.assert(
      fc.property(fc.array(step, { maxLength: 80 }), (steps) => {
        const book = new MemoryBook(tenantRecord({ tokensPerMinute: 1_000 }));
        let admittedTokens = 0;
        let nowMs = 0;
        for (const each of steps) {
          if (each.kind === "wait") nowMs += each.ms;
          if (each.kind !== "reserve") continue;
          const fresh = !book.reservation(`r${each.id}`);
          if (admitted(book, `r${each.id}`, nowMs, each.prompt) && fresh) {
            admittedTokens += book.reservation(`r${each.id}`)!.heldTokens;
          }
          expect(admittedTokens).toBeLessThanOrEqual(1_000 + (1_000 * nowMs) / 60_000);
        }
      }),
    );
  });
});
