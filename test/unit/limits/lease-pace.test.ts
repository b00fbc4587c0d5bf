import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { LEASE_TTL_MS, RESERVE_AHEAD_MS } from "../../../src/bounds.ts";
import { grantBlock } from "../../../src/limits/block.ts";
import type { Book } from "../../../src/limits/book.ts";
import type { LeaseTerms, Pace } from "../../../src/limits/lease.ts";
import * as holder from "../../../src/limits/lease-holder.ts";
import { cancel, expire, finish, report, reserve } from "../../../src/limits/ledger.ts";
import { NO_PACE } from "../../../src/limits/pace.ts";
import { HOME_PURSE, LEASE_PURSE, type Purse } from "../../../src/limits/purse.ts";
import type { Reservation } from "../../../src/limits/reservation.ts";
import { ASK, tenantRecord } from "../../support/tenant.ts";

const PLENTY = { tokens: 1_000_000, requests: 1_000_000, slots: 1_000_000 };
const TERMS: LeaseTerms = {
  ...{ scope: "tenant", lease: 1, sequence: 1, granted: PLENTY, ttlMs: LEASE_TTL_MS },
  settled: { tokens: 0, requests: 0, slots: 0 },
  returned: { tokens: 0, requests: 0, slots: 0 },
  ...{ keepTokens: null, keepSlots: null },
};
/** 10 streams of 50 s at 100 tokens a second. */
const BUSY: Pace = { tokensPerSecond: 1_000, streams: 10, meanTokens: 5_000 };
const NEXT_TOKENS = RESERVE_AHEAD_MS;

function leased(terms: Partial<LeaseTerms> = {}, freeTokens = PLENTY.tokens): holder.LeaseAccount {
  const granted = { ...PLENTY, tokens: freeTokens };
  const taken = holder.takeTerms(holder.newLease("tenant", 0), { ...TERMS, granted, ...terms }, 0, 0);
  return { ...taken, pace: BUSY };
}

function admits(account: holder.LeaseAccount, tokens: number): boolean {
  return holder.leaseRefusal(account, { tokens, leastTokens: 1 }, 1) === null;
}

describe("a lease", () => {
  it("leaves aside what its streams use beyond their part of the rate, for as long as one takes", () => {
    const beyondTokens = 400 * 50;
    const told = leased({ ratePerMinute: 600 * 60 }, beyondTokens + NEXT_TOKENS + 500);
    expect(admits(told, 500)).toBe(true);
    expect(admits(told, 501)).toBe(false);
    expect(holder.leaseRoom(told, 1).tokens).toBe(500);
  });

  it("leaves aside their next extensions alone where they keep to it, or there is no rate, or none was told", () => {
    for (const terms of [{ ratePerMinute: 1_000 * 60 }, { ratePerMinute: null }, {}]) {
      expect(holder.leaseRoom(leased(terms, NEXT_TOKENS + 500), 1).tokens).toBe(500);
    }
  });

  it("gives no block out of what it leaves aside", () => {
    const block = {
      id: "b",
      from: "weur" as const,
      keyId: ASK.keyId,
      secretHash: ASK.secretHash,
      model: "m",
    };
    const ask = {
      ...block,
      weights: { input: 1_000, cachedInput: 1_000, output: 1_000 },
      requests: 10,
      tokens: 100,
    };
    const granted = (ratePerMinute: number) => {
      const book = new PurseBook(LEASE_PURSE);
      book.accounts.set("tenant", leased({ ratePerMinute }, 30_000));
      return grantBlock(book, ask, 1).answer.ok;
    };
    expect(granted(1_000 * 60)).toBe(true);
    expect(granted(400 * 60)).toBe(false);
  });

  it("counts on what the latest terms say, in whatever order they come", () => {
    const terms = [1, 2, 3].map((sequence) => ({ ...TERMS, sequence, ratePerMinute: sequence * 60 }));
    fc.assert(
      fc.property(fc.array(fc.constantFrom(...terms), { minLength: 1 }), (order) => {
        const taken = order.reduce((account, one) => holder.takeTerms(account, one, 0, 0), leased());
        expect(taken.ratePerMinute).toBe(Math.max(...order.map(({ ratePerMinute }) => ratePerMinute)));
      }),
    );
  });

  it("takes over what others know of a request's length, until one has ended here", () => {
    const cold = holder.takeTerms(holder.newLease("tenant", 0), { ...TERMS, meanTokens: 700 }, 0, 0);
    expect(cold.pace.meanTokens).toBe(700);
    expect(holder.takeTerms(leased(), { ...TERMS, meanTokens: 700 }, 0, 0).pace).toEqual(BUSY);
  });

  it("tells its pace, and what its streams hold", () => {
    const { message } = holder.renewal({ ...leased(), heldTokens: 640 }, "weur", PLENTY);
    expect(message).toMatchObject({ pace: BUSY, heldTokens: 640 });
  });

  it("never counts less than nothing when streams end that began uncounted", () => {
    const ended = holder.leaseRepace(holder.leaseRepace(leased(), 0, 50), 2_000, 0);
    expect(ended.pace).toMatchObject({ tokensPerSecond: 0, streams: 10 });
  });
});

/** A ledger in memory over either purse. */
class PurseBook<P extends { readonly scope: string }> implements Book<P> {
  readonly record = tenantRecord({ tokensPerMinute: 1_000_000 });
  readonly accounts = new Map<string, P>();
  readonly reservations = new Map<string, Reservation>();
  readonly purse: Purse<P>;

  constructor(purse: Purse<P>) {
    this.purse = purse;
  }

  account(scope: string): P | undefined {
    return this.accounts.get(scope);
  }

  reservation(id: string): Reservation | undefined {
    return this.reservations.get(id);
  }

  block(): undefined {
    return undefined;
  }

  apply(change: { readonly accounts: readonly P[]; readonly reservation: Reservation } | null): void {
    for (const account of change?.accounts ?? []) this.accounts.set(account.scope, account);
    if (change) this.reservations.set(change.reservation.id, change.reservation);
  }
}

const act = fc.record({
  kind: fc.constantFrom("reserve", "report", "report", "report", "finish", "cancel", "expire"),
  id: fc.constantFrom("a", "b", "c"),
  attempt: fc.nat(1),
  final: fc.boolean(),
  tokensPerSecond: fc.nat(100),
  passMs: fc.nat(40_000),
});

describe("the pace of an account", () => {
  const lease = { ...leased(), pace: NO_PACE, deadlineMs: Number.MAX_SAFE_INTEGER };

  function plays<P extends { readonly scope: string; readonly pace: Pace }>(make: () => PurseBook<P>): void {
    fc.assert(
      fc.property(fc.array(act, { maxLength: 40, size: "max" }), (acts) => {
        const book = make();
        let nowMs = 0;
        for (const { attempt, final, id, kind, passMs, tokensPerSecond } of acts) {
          nowMs += passMs;
          if (kind === "reserve") book.apply(reserve(book, { ...ASK, requestId: id }, nowMs).change);
          if (kind === "report") {
            const usage = { promptTokens: 10, cachedTokens: 0, outputTokens: 5 };
            const said = { requestId: id, keyId: ASK.keyId, model: "m", attempt, usage, final };
            book.apply(report(book, { ...said, tokensPerSecond, unsent: false }, nowMs).change);
          }
          if (kind === "finish") book.apply(finish(book, id, nowMs));
          if (kind === "cancel") book.apply(cancel(book, id, nowMs));
          if (kind === "expire") book.apply(expire(book, id, nowMs));
          const paces = [...book.reservations.values()].map((one) => one.paceTokensPerSecond);
          const { pace } = book.account("tenant") ?? { pace: NO_PACE };
          expect(pace.tokensPerSecond).toBe(paces.reduce((sum, one) => sum + one, 0));
          expect(pace.streams).toBe(paces.filter((one) => one > 0).length);
        }
      }),
    );
  }

  it("is that of its reservations at every moment, at home", () => {
    plays(() => new PurseBook(HOME_PURSE));
  });

  it("is that of its reservations at every moment, on a lease", () => {
    plays(() => {
      const book = new PurseBook(LEASE_PURSE);
      book.accounts.set("tenant", lease);
      return book;
    });
  });
});
