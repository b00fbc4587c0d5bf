import { describe, expect, it } from "vitest";
import { HOME_ROWS, LEASE_ROWS } from "../../src/durable/budget/account-rows.ts";
import { leaseFrom } from "../../src/durable/budget/lease-rows.ts";
import { newAccount } from "../../src/limits/account.ts";
import { newLease } from "../../src/limits/lease-holder.ts";
import { NO_PACE, NOTHING_ELSEWHERE } from "../../src/limits/pace.ts";

const BUSY = { tokensPerSecond: 900, streams: 9, meanTokens: 500 };

describe("rows of accounts and leases", () => {
  it("read as they were written", () => {
    const lease = { ...newLease("tenant", 1_000), pace: BUSY, ratePerMinute: 60_000 };
    expect(LEASE_ROWS.read(LEASE_ROWS.write(lease), [], 0)).toEqual(lease);
    const elsewhere = { pace: BUSY, allottedPerSecond: 950, atMs: 1_000 };
    const account = { ...newAccount("tenant", { tokensPerMinute: 600 }, 1_000), pace: BUSY, elsewhere };
    expect(HOME_ROWS.read(HOME_ROWS.write(account), [], 0)).toEqual(account);
  });

  it("of a version before begin to count anew, also where that version wrote last", () => {
    const { pace: _pace, ratePerMinute: _rate, ...lease } = newLease("tenant", 1_000);
    const counted = { ...lease, pace: NO_PACE, ratePerMinute: null };
    const before = JSON.stringify({ ...lease, tokensPerSecond: 900 });
    expect(LEASE_ROWS.read(before, [], 0)).toEqual(counted);
    const rolledBack = JSON.stringify({ ...lease, pace: BUSY, tokensPerSecond: 0 });
    expect(LEASE_ROWS.read(rolledBack, [], 0)).toEqual(counted);
    const { elsewhere: _elsewhere, ...account } = newAccount("tenant", { tokensPerMinute: 600 }, 1_000);
    const row = HOME_ROWS.write(account as Parameters<typeof HOME_ROWS.write>[0]);
    expect(HOME_ROWS.read(row, [], 0).elsewhere).toEqual(NOTHING_ELSEWHERE);
    expect(leaseFrom("{}")).toEqual({ pace: NO_PACE, heldTokens: 0, wantedRequests: 0, ratePerMinute: null });
  });
});
