import { describe, expect, it } from "vitest";
import { free, newLease } from "../../../src/limits/lease-holder.ts";
import { softPurse } from "../../../src/limits/purse.ts";

const ALLOWANCE = 500;
const purse = softPurse(ALLOWANCE);
const granted = { tokens: 1_000, requests: 10, slots: 10 };
const lease = { ...newLease("tenant", 0), lease: 1, granted, deadlineMs: 1_000 };

describe("admission on trust", () => {
  it("draws on a lease that lives, and then on the allowance", () => {
    const now = purse.at(lease, {}, 999);
    expect(purse.refusal(now, {}, { tokens: 1_500, leastTokens: 1 }, 999)).toBeNull();
    expect(purse.refusal(now, {}, { tokens: 1_501, leastTokens: 1 }, 999)).not.toBeNull();
  });

  it("gives up a lease that has ended, which the home may have counted as spent, and draws on the allowance alone", () => {
    const now = purse.at(lease, {}, 1_000);
    expect(free(now).tokens).toBe(0);
    expect(now.returned.tokens).toBe(1_000);
    expect(purse.refusal(now, {}, { tokens: 501, leastTokens: 1 }, 1_000)).not.toBeNull();
    const after = purse.admit(now, 500, 1);
    expect(purse.refusal(after, {}, { tokens: 1, leastTokens: 1 }, 1_000)).not.toBeNull();
  });
});
