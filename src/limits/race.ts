import { accountsOf, type Book, type Change, NO_USAGE } from "./book.ts";
import { close, found, settleOwed } from "./ledger.ts";
import type { BlockClaim } from "./messages.ts";
import { difference, elected, isHeardOf, isOver, owedTokens, raced, usageOf } from "./reservation.ts";

/**
 * Two attempts are to run for the same answer, of which one will be charged. Null: no, since what a gate has reported of
 * the first is on the bill already. What is reported while they race is kept and settled once `elect` says for whom.
 */
export function race<P>(
  book: Book<P>,
  requestId: string,
  attempts: readonly number[],
  nowMs: number,
  claim?: BlockClaim,
): Change<P> | null {
  const known = found(book, requestId, claim, nowMs);
  const reservation = known === null ? null : raced(known.reservation, attempts);
  if (known === null || reservation === null) return null;
  return { accounts: [], reservation, block: known.block, settled: NO_USAGE, counted: false };
}

/**
 * One of those that race made the answer. Saying it twice, or late, changes nothing that was settled. Whatever block the
 * request was admitted from, race has taken it out.
 */
export function elect<P>(book: Book<P>, requestId: string, winner: number, nowMs: number): Change<P> | null {
  const before = book.reservation(requestId);
  const after = before === undefined ? null : elected(before, winner);
  if (before === undefined || after === null) return null;
  const settled = difference(usageOf(after), usageOf(before));
  const accounts = accountsOf(book, after, nowMs);
  if (after.state === "open" && !isOver(after)) {
    const settling = settleOwed(book, accounts, after, owedTokens(after, false));
    return { ...settling, block: null, settled, counted: false };
  }
  // Of one that was closed while they raced, what is on the bill from now on is taken from the accounts too.
  const state = after.state === "void" && !isHeardOf(after) ? "void" : "settled";
  const counted = before.state !== "settled" && state === "settled";
  return { ...close(book, accounts, after, state), block: null, settled, counted };
}
