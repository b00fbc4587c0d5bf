import { LEASE_TTL_MS } from "../../src/bounds.ts";
import { type BudgetPlace, locationOf } from "../../src/catalogue.ts";
import type { Account } from "../../src/limits/account.ts";
import { take } from "../../src/limits/bucket.ts";
import { NONE, plus } from "../../src/limits/lease.ts";
import type { LeaseAccount } from "../../src/limits/lease-holder.ts";
import { outstanding } from "../../src/limits/lease-home.ts";
import { slotAt } from "../../src/limits/window.ts";
import { IN_BLOCKS } from "./mutants/blocks.ts";
import { forgetful, type Mutant, mutant } from "./mutants/mutant.ts";
import { OF_PACE } from "./mutants/paces.ts";
import { IN_RACES } from "./mutants/races.ts";
import { PROTOCOL } from "./protocol.ts";

const { homePurse, leasePurse, shell } = PROTOCOL;

function givenBack(account: Account, tokens: number): Account {
  return { ...account, tokens: take(account.tokens, -tokens) };
}

const AT_HOME: readonly Mutant[] = [
  mutant("refund-on-expiry", "an expired lease's tokens return to the bucket at its deadline", {
    writeOff: (account, limits, lease, nowMs) => {
      if (lease.state === "written_off" || nowMs - lease.contactMs < LEASE_TTL_MS) return null;
      const left = outstanding(lease);
      const freed = { ...account, leased: plus(account.leased, negative(left)) };
      const now = PROTOCOL.settleTime(givenBack(freed, left.tokens), limits, nowMs);
      return { account: now, lease: { ...lease, state: "written_off" } };
    },
  }),
  mutant("write-off-refunds", "a lease that is written off counts as returned, not as spent", {
    writeOff: (account, limits, lease, nowMs) => {
      const written = PROTOCOL.writeOff(account, limits, lease, nowMs);
      return written && { ...written, account: givenBack(written.account, outstanding(lease).tokens) };
    },
  }),
  mutant("refill-during-lease", "the bucket refills while its tokens are leased out", {
    homePurse: {
      ...homePurse,
      at: (account, limits, nowMs) => {
        const without = PROTOCOL.settleTime({ ...account, leased: NONE }, limits, nowMs);
        return { ...without, leased: account.leased };
      },
    },
  }),
  mutant("refill-while-held", "the bucket refills while reservations hold its tokens", {
    homePurse: {
      ...homePurse,
      at: (account, limits, nowMs) => {
        const without = PROTOCOL.settleTime({ ...account, heldTokens: 0 }, limits, nowMs);
        return { ...without, heldTokens: account.heldTokens };
      },
    },
  }),
  mutant("grant-without-debit", "a grant is debited when it is used, not when it is given", {
    renew: (account, limits, known, message, share, nowMs) => {
      const renewed = PROTOCOL.renew(account, limits, known, message, share, nowMs);
      const granted = renewed.lease.granted.tokens - (known?.granted.tokens ?? 0);
      return { ...renewed, account: givenBack(renewed.account, Math.max(0, granted)) };
    },
  }),
  mutant("returned-twice", "every renewal gives all returned tokens back to the bucket again", {
    renew: (account, limits, known, message, share, nowMs) => {
      const again = known?.id === message.lease ? known.returned.tokens : 0;
      return PROTOCOL.renew(givenBack(account, again), limits, known, message, share, nowMs);
    },
  }),
  mutant("late-news-wins", "a late renewal overwrites newer counters", {
    renew: (account, limits, known, message, share, nowMs) => {
      const renewed = PROTOCOL.renew(account, limits, known, message, share, nowMs);
      if (known?.id !== message.lease) return renewed;
      return { ...renewed, lease: { ...renewed.lease, settled: message.settled } };
    },
  }),
  mutant("lease-not-counted", "what is leased out counts neither against the day nor against places", {
    homePurse: {
      ...homePurse,
      refusal: (account, limits, ask, nowMs) =>
        homePurse.refusal({ ...account, leased: NONE }, limits, ask, nowMs),
    },
  }),
  mutant("day-by-admission", "a day's tokens count in the slot of their admission", {
    report: (book, message, nowMs) => {
      const reported = PROTOCOL.report(book, message, nowMs);
      const created = slotAt(reported.change.reservation.createdAtMs);
      const accounts = reported.change.accounts.map((purse) => {
        const { day } = purse as unknown as Account;
        return day && created < day.slot ? { ...purse, day: { ...day, slot: created } } : purse;
      });
      return { ...reported, change: { ...reported.change, accounts } };
    },
  }),
  mutant("raise-refills-the-past", "a raised limit refills at its own rate for time before it", {
    relimit: (account) => account,
  }),
  mutant("clock-step-ignored", "a clock that steps back takes the bucket back in time with it", {
    homePurse: {
      ...homePurse,
      at: (account, limits, nowMs) => {
        const now = homePurse.at(account, limits, nowMs);
        return { ...now, tokens: { ...now.tokens, atMs: nowMs } };
      },
    },
  }),
];

const AT_HOLDERS: readonly Mutant[] = [
  mutant("admits-after-deadline", "a holder goes on admitting when its lease has ended", {
    leasePurse: {
      ...leasePurse,
      refusal: (lease, limits, ask) => leasePurse.refusal(lease, limits, ask, 0),
    },
  }),
  mutant("old-terms-accepted", "terms of a lease that is over add to the one in force", {
    takeTerms: (lease, terms, sentAtMs, nowMs) =>
      PROTOCOL.takeTerms(lease, { ...terms, lease: Math.max(terms.lease, lease.lease) }, sentAtMs, nowMs),
  }),
  mutant("new-lease-keeps-old", "a new lease keeps what was free of the one that was written off", {
    takeTerms: (lease, terms, sentAtMs, nowMs) => {
      const taken = PROTOCOL.takeTerms(lease, terms, sentAtMs, nowMs);
      if (taken.lease === lease.lease) return taken;
      return { ...taken, granted: plus(taken.granted, lease.granted) };
    },
  }),
  mutant("grants-add-up", "each answer's grant is added, also when it comes twice", {
    takeTerms: (lease, terms, sentAtMs, nowMs) => {
      const taken = PROTOCOL.takeTerms(lease, terms, sentAtMs, nowMs);
      const again = lease.lease === terms.lease ? lease.granted : NONE;
      return { ...taken, granted: plus(terms.granted, again) };
    },
  }),
  mutant("returns-what-is-held", "an idle holder also returns what running requests hold", {
    giveBackAll: (lease) => {
      const given = PROTOCOL.giveBackAll(lease);
      return { ...given, returned: plus(given.returned, { ...NONE, tokens: lease.heldTokens }) };
    },
  }),
  mutant("shards-share-a-lease", "objects that share a location renew under its one name", {
    renewal: (lease, holder, want) => PROTOCOL.renewal(lease, locationOf(holder as BudgetPlace), want),
  }),
  mutant("return-not-told", "a holder returns tokens and goes on spending them", {
    giveBackAll: (lease) => ({
      ...PROTOCOL.giveBackAll(lease),
      granted: plus(lease.granted, lease.returned),
    }),
  }),
  mutant("overrun-forgiven", "usage beyond what a request holds is not charged to the lease", {
    leasePurse: {
      ...leasePurse,
      settle: (lease, _used, fromHeld) => leasePurse.settle(lease, fromHeld, fromHeld),
    },
  }),
  mutant("extends-without-room", "a running request is extended beyond the lease", {
    leasePurse: {
      ...leasePurse,
      extendable: (_lease, _limits, wanted) => wanted,
      hold: (lease, tokens) => ({ ...lease, heldTokens: lease.heldTokens + tokens }) as LeaseAccount,
    },
  }),
];

const IN_THE_LEDGER: readonly Mutant[] = [
  mutant("reserve-not-idempotent", "a reservation that arrives twice is made twice", {
    reserve: (book, ask, nowMs) =>
      PROTOCOL.reserve(
        forgetful(book, () => undefined),
        ask,
        nowMs,
      ),
  }),
  mutant("report-settles-twice", "a report that arrives twice is settled twice", {
    report: (book, message, nowMs) =>
      PROTOCOL.report(
        forgetful(book, (known) => ({ ...known, attempts: [], settledTokens: 0 })),
        message,
        nowMs,
      ),
  }),
  mutant("cancel-refunds-used", "a cancelled request gives back what it had used", {
    cancel: (book, id, nowMs) => {
      const change = PROTOCOL.cancel(book, id, nowMs);
      if (change === null) return null;
      const used = change.reservation.settledTokens + 1;
      return { ...change, accounts: change.accounts.map((purse) => book.purse.settle(purse, -used, 0)) };
    },
  }),
  mutant(
    "refund-of-refilled-request",
    "a request that never ran refills while it waits, and is then given back too",
    {
      homePurse: {
        ...homePurse,
        at: (account, limits, nowMs) => {
          const without = PROTOCOL.settleTime({ ...account, heldRequests: 0 }, limits, nowMs);
          return { ...without, heldRequests: account.heldRequests };
        },
      },
    },
  ),
  mutant("later-attempt-bills-anew", "each attempt of a request is billed as if it were another", {
    report: (book, message, nowMs) => {
      const seen = forgetful(book, (known) =>
        message.attempt > 0 && known.attempts.length <= message.attempt ? { ...known, attempts: [] } : known,
      );
      return PROTOCOL.report(seen, message, nowMs);
    },
  }),
  mutant("expiry-keeps-place", "a reservation that expires never frees its place", {
    expire: (book, id, nowMs) => {
      const before = book.reservation(id);
      const change = PROTOCOL.expire(book, id, nowMs);
      if (change === null || !before) return null;
      const accounts = before.scopes.map((scope) => book.account(scope)!);
      return { ...change, accounts };
    },
  }),
];

const IN_THE_SHELL: readonly Mutant[] = [
  mutant("memory-only-draw", "what an account holds is kept in memory and lost with it", {
    shell: { ...shell, writesAccounts: false },
  }),
  mutant("stale-twin-writes", "a copy of an object that was replaced still decides and answers", {
    shell: { ...shell, twinMayWrite: true },
  }),
  mutant("answer-before-write", "answers leave before what they rest on is written", {
    shell: { ...shell, answersBeforeWriting: true },
  }),
];

export const MUTANTS: readonly Mutant[] = [
  ...AT_HOME,
  ...AT_HOLDERS,
  ...IN_THE_LEDGER,
  ...IN_BLOCKS,
  ...IN_RACES,
  ...OF_PACE,
  ...IN_THE_SHELL,
];

function negative({
  tokens,
  requests,
  slots,
}: ReturnType<typeof outstanding>): ReturnType<typeof outstanding> {
  return { tokens: -tokens, requests: -requests, slots: -slots };
}
