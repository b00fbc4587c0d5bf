import { PROTOCOL } from "../protocol.ts";
import { type Mutant, mutant } from "./mutant.ts";

const { homePurse, leasePurse } = PROTOCOL;

/**
 * What may go wrong with the pace of streams so that it shows in the end. A rate that is divided wrongly breaks no bound: what
 * it costs is measured in test/unit/world/pace.test.ts.
 */
export const OF_PACE: readonly Mutant[] = [
  mutant("pace-never-given-back", "a holder counts streams that have ended as if they ran", {
    leasePurse: {
      ...leasePurse,
      repace: (lease, before, after) => (after === 0 ? lease : leasePurse.repace(lease, before, after)),
    },
  }),
  mutant("home-pace-never-given-back", "the home counts streams that have ended as if they ran", {
    homePurse: {
      ...homePurse,
      repace: (account, before, after) => (after === 0 ? account : homePurse.repace(account, before, after)),
    },
  }),
  mutant("ended-with-its-pace", "a reservation that runs out leaves its pace behind", {
    expire: (book, id, nowMs) => {
      const before = book.reservation(id)?.paceTokensPerSecond ?? 0;
      const change = PROTOCOL.expire(book, id, nowMs);
      return (
        change && { ...change, accounts: change.accounts.map((purse) => book.purse.repace(purse, 0, before)) }
      );
    },
  }),
  mutant("old-pace-wins", "a late renewal overwrites what newer ones said of the pace", {
    renew: (account, limits, known, message, share, nowMs) => {
      const renewed = PROTOCOL.renew(account, limits, known, message, share, nowMs);
      return { ...renewed, lease: { ...renewed.lease, pace: message.pace ?? renewed.lease.pace } };
    },
  }),
];
