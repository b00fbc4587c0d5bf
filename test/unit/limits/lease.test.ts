import { describe, expect, it } from "vitest";
import { LEASE_TTL_MS } from "../../../src/bounds.ts";
import { newAccount, relimit, settleTime } from "../../../src/limits/account.ts";
import { UNDIVIDED } from "../../../src/limits/allot.ts";
import { available } from "../../../src/limits/bucket.ts";
import { NONE, type Quantity } from "../../../src/limits/lease.ts";
import * as holder from "../../../src/limits/lease-holder.ts";
import { type Lease, outstanding, renew, writeOff, writeOffMs } from "../../../src/limits/lease-home.ts";

const LIMITS = { tokensPerMinute: 6_000, requestsPerMinute: 600, concurrentRequests: 10 };
const SHARE = {
  tokens: Infinity,
  requests: Infinity,
  slots: Infinity,
  othersShort: false,
  allotment: UNDIVIDED,
};
const WANT: Quantity = { tokens: 1_000, requests: 10, slots: 4 };

/** One home account and one holder, with messages that always arrive. */
class Pair {
  account = newAccount("tenant", LIMITS, 0);
  lease: Lease | undefined;
  held = holder.newLease("tenant", 0);

  renew(nowMs: number, want = WANT, share = SHARE): void {
    const { account, message } = holder.renewal(this.held, "weur", want);
    const renewed = renew(this.account, LIMITS, this.lease, message, share, nowMs);
    this.account = renewed.account;
    this.lease = renewed.lease;
    this.held = holder.takeTerms(account, renewed.terms, nowMs, nowMs);
  }
}

describe("a lease between home and holder", () => {
  it("is debited when it is granted and wanted beside what running requests hold", () => {
    const pair = new Pair();
    pair.renew(0);
    expect(available(pair.account.tokens)).toBe(5_000);
    pair.held = holder.leaseAdmit(pair.held, 900, 1);
    pair.renew(1);
    expect(holder.free(pair.held)).toEqual(WANT);
    expect(outstanding(pair.lease!)).toEqual({ tokens: 1_900, requests: 11, slots: 5 });
  });

  it("charges requests as well as tokens that were used beyond the grant", () => {
    const pair = new Pair();
    pair.renew(0);
    const settled = { tokens: 1_500, requests: 12, slots: 0 };
    pair.held = { ...pair.held, settled };
    pair.renew(0, NONE);
    expect(pair.account.leased).toEqual(outstanding(pair.lease!));
    expect(available(pair.account.tokens)).toBe(4_500);
    expect(available(pair.account.requests)).toBe(588);
  });

  it("is not granted twice by a message that comes twice", () => {
    const pair = new Pair();
    const { message } = holder.renewal(pair.held, "weur", WANT);
    const once = renew(pair.account, LIMITS, undefined, message, SHARE, 0);
    const twice = renew(once.account, LIMITS, once.lease, message, SHARE, 0);
    expect(twice.account).toEqual(once.account);
    expect(twice.terms).toEqual(once.terms);
  });

  it("gives back places that nothing runs in until what is left is its part, those of running requests included", () => {
    const pair = new Pair();
    pair.renew(0, { ...WANT, slots: 8 });
    for (let running = 0; running < 6; running += 1) pair.held = holder.leaseAdmit(pair.held, 1, 1);
    const part = { ...SHARE, slots: 5, othersShort: true };
    pair.renew(1, { ...WANT, slots: 2 }, part);
    expect(holder.free(pair.held).slots).toBe(0);
    pair.held = holder.leaseLeave(pair.held, 2);
    pair.renew(2, { ...WANT, slots: 2 }, part);
    expect([pair.held.open, holder.free(pair.held).slots]).toEqual([4, 1]);
    pair.renew(3, { ...WANT, slots: 1 }, part);
    expect(outstanding(pair.lease!).slots).toBe(5);
  });

  it("is closed only when the home is known to have heard the last word", () => {
    const pair = new Pair();
    expect(holder.isClosed(pair.held)).toBe(true);
    pair.renew(0);
    expect(holder.isClosed(pair.held)).toBe(false);
    pair.held = holder.giveBackAll(pair.held);
    const lost = holder.renewal(pair.held, "weur", NONE).account;
    expect(holder.isClosed(lost)).toBe(false);
    pair.held = lost;
    pair.renew(1, NONE);
    expect(holder.isClosed(pair.held)).toBe(true);
    expect(available(settleTime(pair.account, LIMITS, 1).tokens)).toBe(6_000);
  });

  it("is closed only when the home is known to count none of its streams any more", () => {
    const pair = new Pair();
    // Streams that outlived the lease they began on hold nothing of this one that could be given back.
    pair.held = holder.leaseRepace(pair.held, 0, 40);
    pair.renew(0, NONE);
    expect(pair.lease!.pace).toMatchObject({ streams: 1, tokensPerSecond: 40 });
    pair.held = holder.leaseRepace(pair.held, 40, 0);
    expect(holder.isClosed(pair.held)).toBe(false);
    pair.renew(1, NONE);
    expect(pair.lease!.pace).toMatchObject({ streams: 0, tokensPerSecond: 0 });
    expect(holder.isClosed(pair.held)).toBe(true);
  });

  it("takes no deadline from an answer that a step of the clock put into the future", () => {
    const pair = new Pair();
    pair.renew(0);
    const { terms } = renew(
      pair.account,
      LIMITS,
      pair.lease,
      holder.renewal(pair.held, "weur", WANT).message,
      SHARE,
      0,
    );
    const stepped = holder.leaseTime({ ...pair.held, seenMs: 5_000 }, 1_000);
    expect(holder.isLive(holder.takeTerms(stepped, terms, 4_000, 1_000), 1_000)).toBe(false);
    expect(holder.isLive(holder.takeTerms(stepped, terms, 1_000, 1_000), 1_000 + LEASE_TTL_MS)).toBe(false);
  });

  it("counts as spent when its holder is silent for longer than any of its requests can live", () => {
    const pair = new Pair();
    pair.renew(0);
    const dueMs = writeOffMs(pair.lease!)!;
    expect(writeOff(pair.account, LIMITS, pair.lease!, dueMs - 1)).toBeNull();
    const written = writeOff(pair.account, LIMITS, pair.lease!, dueMs)!;
    expect(written.account.leased).toEqual(NONE);
    expect(written.account.day.slotTokens).toBe(1_000);
    expect(writeOffMs(written.lease)).toBeNull();
  });

  it("returns nothing that running requests hold", () => {
    const pair = new Pair();
    pair.renew(0);
    pair.held = holder.giveBackAll(holder.leaseAdmit(pair.held, 300, 1));
    expect(holder.free(pair.held)).toEqual(NONE);
    expect(() => holder.leaseRelease(pair.held, 301)).toThrow("I1");
    expect(() => holder.leaseHold(pair.held, 1)).toThrow("I1");
  });

  it("is no debt when the operator lowers the limit below it, and gets no refill for the time before a raise", () => {
    const pair = new Pair();
    pair.renew(0);
    const low = relimit(pair.account, LIMITS, { tokensPerMinute: 500 }, 0);
    expect(low.tokens.levelUnits).toBe(0);
    const raised = relimit(low, { tokensPerMinute: 500 }, { tokensPerMinute: 60_000 }, 30_000);
    expect(available(raised.tokens)).toBe(0);
  });
});
