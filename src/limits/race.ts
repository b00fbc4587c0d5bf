import { accountsOf, type Book, type Change, close, NO_USAGE, settleOwed } from "./ledger.ts";
import { difference, elected, isOver, owedTokens, raced, usageOf } from "./reservation.ts";

/**
 * Two attempts are to run for the same answer, of which one will be charged. Null: no, since what a gate has reported of
 * the first is on the bill already. What is reported while they race is kept and settled once `elect` says for whom.
 */
export function race<P>(book: Book<P>, requestId: string, attempts: readonly number[]): Change<P> | null {
  const before = book.reservation(requestId);
  const reservation = before === undefined ? null : raced(before, attempts);
  return reservation === null ? null : { accounts: [], reservation, settled: NO_USAGE, counted: false };
}

/** One of those that race made the answer. Saying it twice, or late, changes nothing that was settled. */
export function elect<P>(book: Book<P>, requestId: string, winner: number, nowMs: number): Change<P> | null {
  const before = book.reservation(requestId);
  const after = before === undefined ? null : elected(before, winner);
  if (before === undefined || after === null) return null;
  const settled = difference(usageOf(after), usageOf(before));
  const accounts = accountsOf(book, after, nowMs);
  if (!isOver(after)) {
    const isOpen = after.state === "open";
    return {
      ...(isOpen
        ? settleOwed(book, accounts, after, owedTokens(after, false))
        : { accounts, reservation: after }),
      settled,
      counted: false,
    };
  }
  const counted = before.state !== "settled";
  return { ...close(book, accounts, after, "settled"), settled, counted };
}
