import type { Account } from "../../limits/account.ts";
import type { LeaseAccount } from "../../limits/lease-holder.ts";
import { NO_PACE, NOTHING_ELSEWHERE } from "../../limits/pace.ts";
import type { AccountRows } from "./tenant-book.ts";

/**
 * An account at home. Its row holds the slot that is being filled; the earlier slots of the day are rows of their own,
 * each written once, or every write would carry the whole day along.
 */
export const HOME_ROWS: AccountRows<Account> = {
  write: ({ day, ...account }) => JSON.stringify({ ...account, slot: day.slot, slotTokens: day.slotTokens }),
  read(body, slots, heldRequests) {
    const { slot, slotTokens, ...account } = JSON.parse(body) as Omit<Account, "day"> & {
      slot: number;
      slotTokens: number;
    };
    const older = slots.filter((entry) => entry.slot < slot);
    const olderTokens = older.reduce((sum, entry) => sum + entry.tokens, 0);
    // Rows from before there was a pace.
    return {
      ...account,
      heldRequests,
      pace: account.pace ?? NO_PACE,
      elsewhere: account.elsewhere ?? NOTHING_ELSEWHERE,
      day: { slot, slotTokens, older, olderTokens },
    };
  },
  endedSlots: (before, after) =>
    before.day.slot === after.day.slot
      ? []
      : after.day.older.filter((entry) => entry.slot >= before.day.slot),
};

/** A lease elsewhere: no day window, the home keeps it. */
export const LEASE_ROWS: AccountRows<LeaseAccount> = {
  write: (lease) => JSON.stringify(lease),
  read(body, _slots, heldRequests) {
    const { tokensPerSecond, ...lease } = JSON.parse(body) as LeaseAccount & { tokensPerSecond?: number };
    // A version before counted the pace alone, by this name; should it have written the row last, another is out of date.
    const pace = tokensPerSecond === undefined ? (lease.pace ?? NO_PACE) : NO_PACE;
    const ratePerMinute = lease.ratePerMinute ?? null;
    // A version before held requests until their end; those that run count from now on.
    const run = Math.max(0, lease.heldRequests - heldRequests);
    const settled = { ...lease.settled, requests: lease.settled.requests + run };
    return { ...lease, settled, heldRequests, pace, ratePerMinute, toldStreams: lease.toldStreams ?? 0 };
  },
  endedSlots: () => [],
};
