import { relimit, settleTime } from "../../src/limits/account.ts";
import { closeBlock, expireBlock, grantBlock } from "../../src/limits/block.ts";
import { giveBack, giveBackAll, renewal, takeTerms } from "../../src/limits/lease-holder.ts";
import { renew, writeOff } from "../../src/limits/lease-home.ts";
import { cancel, expire, finish, report, reserve } from "../../src/limits/ledger.ts";
import { HOME_PURSE, LEASE_PURSE, softPurse } from "../../src/limits/purse.ts";
import { elect, race } from "../../src/limits/race.ts";
import { recalls, shareOf } from "../../src/limits/share.ts";
import { asked, draw, due, ended, lost, took } from "../../src/limits/spender.ts";

/**
 * The functions under test, by name: the very ones that production runs. A mutant is this record with one of them
 * wrapped, so no flag for tests exists in `src`.
 */
export const PROTOCOL = {
  reserve,
  report,
  finish,
  cancel,
  expire,
  race,
  elect,
  settleTime,
  relimit,
  renew,
  writeOff,
  shareOf,
  recalls,
  renewal,
  takeTerms,
  giveBack,
  giveBackAll,
  grantBlock,
  closeBlock,
  expireBlock,
  /** What an isolate does with its blocks. */
  spender: { asked, draw, due, ended, lost, took },
  homePurse: HOME_PURSE,
  leasePurse: LEASE_PURSE,
  softPurse,
  /** What the shell around the core guarantees. */
  shell: {
    /** A copy of an object that was replaced: its writes fail, so nothing that it decided leaves it. */
    twinMayWrite: false,
    /** Rows that a commit writes; the rest would live in memory only. */
    writesAccounts: true,
    /** A row says which attempts race, and which lost. */
    writesRaces: true,
    /** An answer is withheld until what it rests on is written. */
    answersBeforeWriting: false,
  },
};

export type Protocol = typeof PROTOCOL;
