import type { Book } from "../../../src/limits/book.ts";
import type { Reservation } from "../../../src/limits/reservation.ts";
import { PROTOCOL, type Protocol } from "../protocol.ts";

/** The protocol with one thing wrong. Each must be caught, or the simulator proves less than it says. */
export interface Mutant {
  readonly name: string;
  readonly wrong: string;
  readonly protocol: Protocol;
}

export function mutant(name: string, wrong: string, change: Partial<Protocol>): Mutant {
  return { name, wrong, protocol: { ...PROTOCOL, ...change } };
}

/** The same book, with something forgotten of the reservations in it. */
export function forgetful<P>(
  book: Book<P>,
  forget: (known: Reservation) => Reservation | undefined,
): Book<P> {
  return {
    record: book.record,
    purse: book.purse,
    account: (scope) => book.account(scope),
    reservation: (id) => {
      const known = book.reservation(id);
      return known && forget(known);
    },
    block: (id) => book.block(id),
  };
}

/** A book as a record of its own, to be changed in part. */
export function plain<P>(book: Book<P>): Book<P> {
  return forgetful(book, (known) => known);
}
