import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { EVEN_WEIGHTS, type Weights, weightsSchema } from "../../../src/catalogue.ts";
import type { Account } from "../../../src/limits/account.ts";
import { settleTime } from "../../../src/limits/account.ts";
import { available, UNITS_PER_TOKEN } from "../../../src/limits/bucket.ts";
import { cancel, expire, finish, report, reserve } from "../../../src/limits/ledger.ts";
import type { BudgetReport } from "../../../src/limits/messages.ts";
import { affordableOutput, weighted, weightedUsage } from "../../../src/limits/weights.ts";
import { spentTokens } from "../../../src/limits/window.ts";
import { ASK, MemoryBook, tenantRecord } from "../../support/tenant.ts";

const PRICES: Weights = { input: 1_000, cachedInput: 100, output: 4_000 };
const LIMITS = { tokensPerMinute: 5_000, tokensPerDay: 50_000 };

const weight = fc.oneof(fc.constantFrom(0, 1, 333, 1_000, 2_500), fc.nat(10_000));
const weights: fc.Arbitrary<Weights> = fc.record({ input: weight, cachedInput: weight, output: weight });

interface Said {
  readonly prompt?: number;
  readonly cached?: number;
  readonly output?: number;
  readonly final?: boolean;
  readonly attempt?: number;
  readonly unsent?: boolean;
}

function said(requestId: string, { prompt = 0, cached = 0, output = 0, ...rest }: Said): BudgetReport {
  const usage = { promptTokens: prompt, cachedTokens: cached, outputTokens: output };
  const { final = false, attempt = 0, unsent = false } = rest;
  return { requestId, keyId: ASK.keyId, model: "m", attempt, usage, final, unsent, tokensPerSecond: 10 };
}

function admit(book: MemoryBook, requestId: string, asked: object, nowMs = 0) {
  const { answer, change } = reserve(book, { ...ASK, requestId, ...asked }, nowMs);
  book.apply(change);
  return answer;
}

describe("weights", () => {
  it("are one each by default", () => {
    expect(weightsSchema.parse({})).toEqual(EVEN_WEIGHTS);
    fc.assert(
      fc.property(fc.nat(1e6), fc.nat(1e6), fc.boolean(), (promptTokens, outputTokens, final) => {
        const usage = { promptTokens, cachedTokens: Math.floor(promptTokens / 2), outputTokens, final };
        expect(weightedUsage([usage], EVEN_WEIGHTS)).toBe(promptTokens + outputTokens);
        expect(weighted(promptTokens, outputTokens, EVEN_WEIGHTS)).toBe(promptTokens + outputTokens);
      }),
    );
  });

  it("make a sum of prices, rounded up once", () => {
    const usage = { promptTokens: 100, cachedTokens: 60, outputTokens: 7, final: true };
    expect(weightedUsage([usage], PRICES)).toBe(40 + 6 + 28);
    const dear = { input: 1, cachedInput: 1, output: 1 };
    expect(weightedUsage([usage, usage], dear)).toBe(1);
    expect(weighted(1, 0, dear)).toBe(1);
  });

  it("never make less of more usage, nor of usage that becomes final", () => {
    const usage = fc.record({
      promptTokens: fc.nat(999),
      cachedTokens: fc.nat(999),
      outputTokens: fc.nat(999),
    });
    fc.assert(
      fc.property(weights, usage, usage, fc.boolean(), (weigh, before, more, final) => {
        const after = {
          promptTokens: before.promptTokens + more.promptTokens,
          cachedTokens: before.cachedTokens + more.cachedTokens,
          outputTokens: before.outputTokens + more.outputTokens,
        };
        const then = weightedUsage([{ ...before, final: false }], weigh);
        expect(weightedUsage([{ ...after, final }], weigh)).toBeGreaterThanOrEqual(then);
      }),
    );
  });

  it("say how much output a budget pays for", () => {
    expect(affordableOutput(100, 20, 2, PRICES)).toBe(10);
    expect(affordableOutput(100, 20, 1, { ...PRICES, output: 0 })).toBe(Infinity);
    fc.assert(
      fc.property(
        weights,
        fc.nat(9_999),
        fc.nat(99),
        fc.integer({ min: 1, max: 8 }),
        (weigh, whole, prompt, n) => {
          const most = affordableOutput(whole, prompt, n, weigh);
          fc.pre(Number.isFinite(most) && most >= 0);
          expect(weighted(prompt, most * n, weigh)).toBeLessThanOrEqual(whole);
          expect(weighted(prompt, (most + 1) * n, weigh)).toBeGreaterThanOrEqual(whole);
        },
      ),
    );
  });
});

describe("a budget that is money", () => {
  it("reserves, settles and extends by weight, and keeps usage in tokens", () => {
    const book = new MemoryBook(tenantRecord(LIMITS));
    const answer = admit(book, "a", { promptTokens: 100, weights: PRICES });
    expect(answer).toMatchObject({ ok: true, reservedTokens: 100 + 4 * 256, outputCapTokens: 1_225 });
    // Nobody knows yet how much of the prompt was cached: 10 of its 100 are settled, the other 90 stay held.
    book.apply(report(book, said("a", { prompt: 100, output: 200 }), 0).change);
    expect(book.reservation("a")).toMatchObject({ settledTokens: 10 + 800, heldTokens: 90 + 4 * 64 });
    book.apply(report(book, said("a", { prompt: 100, cached: 60, output: 210, final: true }), 0).change);
    expect(book.reservation("a")).toMatchObject({ settledTokens: 40 + 6 + 840, heldTokens: 0 });
    expect(available(book.account("tenant")!.tokens)).toBe(5_000 - 886);
    expect(spentTokens(book.account("tenant")!.day)).toBe(886);
    expect(book.settled).toEqual({ promptTokens: 100, cachedTokens: 60, outputTokens: 210 });
  });

  it("keeps the weights that a request was admitted with", () => {
    const book = new MemoryBook(tenantRecord(LIMITS));
    admit(book, "a", { promptTokens: 10, weights: PRICES });
    admit(book, "a", { promptTokens: 10, weights: { input: 9, cachedInput: 9, output: 9_000 } });
    book.apply(report(book, said("a", { prompt: 10, output: 5, final: true }), 0).change);
    expect(book.reservation("a")).toMatchObject({ settledTokens: 30, weights: PRICES });
  });

  it("takes tokens as one each where it knows of no reservation", () => {
    const book = new MemoryBook(tenantRecord(LIMITS));
    book.apply(report(book, said("lost", { prompt: 10, cached: 4, output: 5, final: true }), 0).change);
    expect(available(book.account("tenant")!.tokens)).toBe(5_000 - 15);
  });

  it("charges the whole prompt of a gate that died before it could tell what was cached", () => {
    for (const end of [cancel, expire]) {
      const book = new MemoryBook(tenantRecord(LIMITS));
      admit(book, "a", { promptTokens: 100, weights: PRICES });
      book.apply(report(book, said("a", { prompt: 100, output: 5 }), 0).change);
      book.apply(end(book, "a", book.reservation("a")!.deadlineMs));
      expect(book.reservation("a")).toMatchObject({ state: "settled", settledTokens: 120, heldTokens: 0 });
    }
  });

  it("does not stop a stream whose output costs nothing, and stops one that cannot pay", () => {
    for (const output of [0, 4_000]) {
      const book = new MemoryBook(tenantRecord({ tokensPerMinute: 300 }, { overdraft: "stop" }));
      expect(
        admit(book, "a", { promptTokens: 300 - output / 1_000, weights: { ...PRICES, output } }).ok,
      ).toBe(true);
      const { stop } = report(book, said("a", { prompt: 300 - output / 1_000, output: 80 }), 0);
      expect(stop).toBe(output > 0);
    }
  });

  it("admits nothing beyond the budget however cheap its prompt", () => {
    const book = new MemoryBook(tenantRecord({ tokensPerMinute: 100 }));
    const dear = { promptTokens: 10, weights: { input: 1_000, cachedInput: 1_000, output: 200_000 } };
    expect(admit(book, "a", dear)).toMatchObject({ ok: false, failure: { tag: "request_too_large" } });
  });
});

type Step =
  | { kind: "reserve"; id: number; prompt: number; weights: Weights }
  | ({ kind: "report"; id: number } & Required<Said>)
  | { kind: "finish" | "cancel" | "expire"; id: number }
  | { kind: "wait"; ms: number };

const id = fc.nat(4);
const step: fc.Arbitrary<Step> = fc.oneof(
  fc.record({ kind: fc.constant("reserve" as const), id, prompt: fc.integer({ min: 1, max: 200 }), weights }),
  fc.record({
    kind: fc.constant("report" as const),
    id,
    attempt: fc.nat(2),
    prompt: fc.nat(200),
    cached: fc.nat(200),
    output: fc.nat(300),
    final: fc.boolean(),
    unsent: fc.boolean(),
  }),
  fc.record({ kind: fc.constantFrom("finish" as const, "cancel" as const, "expire" as const), id }),
  fc.record({ kind: fc.constant("wait" as const), ms: fc.nat(120_000) }),
);

function take(book: MemoryBook, each: Exclude<Step, { kind: "wait" }>, nowMs: number): void {
  const name = `r${each.id}`;
  if (each.kind === "reserve") {
    admit(book, name, { promptTokens: each.prompt, weights: each.weights }, nowMs);
  } else if (each.kind === "report") {
    book.apply(report(book, said(name, each), nowMs).change);
  } else {
    book.apply({ finish, cancel, expire }[each.kind](book, name, nowMs));
  }
}

describe("weighted tokens, whatever happens", () => {
  it("are held, settled once and never given back (I1, I2, I7)", () => {
    fc.assert(
      fc.property(fc.array(step, { maxLength: 80 }), (steps) => {
        const book = new MemoryBook(tenantRecord({ tokensPerMinute: LIMITS.tokensPerMinute }));
        let nowMs = 0;
        let settled = 0;
        for (const each of steps) {
          if (each.kind === "wait") {
            nowMs += each.ms;
            continue;
          }
          const before = new Map(book.reservations);
          take(book, each, nowMs);
          for (const after of book.reservations.values()) {
            const grown = after.settledTokens - (before.get(after.id)?.settledTokens ?? 0);
            expect(grown, "I7: settled never falls").toBeGreaterThanOrEqual(0);
            settled += grown;
          }
          bounds(book, nowMs);
        }
        // The day is not over in any schedule of at most 80 waits of two minutes.
        expect(spentTokens(book.account("tenant")?.day ?? EMPTY_DAY)).toBe(settled);
      }),
      { numRuns: 400 },
    );
  });

  it("end the same whether reports were lost, repeated or late, if the last one arrived", () => {
    const usage = fc.record({ prompt: fc.nat(100), cached: fc.nat(100), output: fc.nat(100) });
    fc.assert(
      fc.property(weights, usage, fc.array(fc.nat(100), { maxLength: 20 }), (weigh, whole, shares) => {
        const book = new MemoryBook(tenantRecord(LIMITS));
        fc.pre(admit(book, "a", { promptTokens: 10, weights: weigh }).ok);
        const cached = Math.min(whole.cached, whole.prompt);
        for (const share of shares) {
          const output = Math.floor((whole.output * share) / 100);
          book.apply(report(book, said("a", { prompt: whole.prompt, output }), 0).change);
        }
        const last = said("a", { ...whole, cached, final: true });
        for (let times = 0; times < 2; times++) book.apply(report(book, last, 0).change);
        const due = weightedUsage([{ ...last.usage, final: true }], weigh);
        expect(book.reservation("a")).toMatchObject({ settledTokens: due, heldTokens: 0, state: "settled" });
      }),
    );
  });
});

const EMPTY_DAY: Account["day"] = { slot: 0, slotTokens: 0, older: [], olderTokens: 0 };

function bounds(book: MemoryBook, nowMs: number): void {
  const open = [...book.reservations.values()].filter(({ state }) => state === "open");
  const held = open.reduce((sum, { heldTokens }) => sum + heldTokens, 0);
  const account = book.account("tenant");
  expect(account?.heldTokens ?? 0, "I1: held = Σ open reservations").toBe(held);
  if (!account) return;
  const { levelUnits } = settleTime(account, { tokensPerMinute: LIMITS.tokensPerMinute }, nowMs).tokens;
  expect(levelUnits + held * UNITS_PER_TOKEN, "I2: level + held ≤ capacity").toBeLessThanOrEqual(
    LIMITS.tokensPerMinute * UNITS_PER_TOKEN,
  );
}
