import type { Book, Change } from "../../../src/limits/book.ts";
import { close } from "../../../src/limits/ledger.ts";
import {
  awaitsWord,
  elected,
  isRacing,
  likelyWinner,
  type Reservation,
} from "../../../src/limits/reservation.ts";
import { PROTOCOL } from "../protocol.ts";
import { forgetful, type Mutant, mutant } from "./mutant.ts";

/** What may go wrong where two attempts are made at one answer. */
export const IN_RACES: readonly Mutant[] = [
  mutant("both-attempts-charged", "a race is allowed and not taken note of", {
    race: (book, id, attempts, nowMs, claim) => {
      const change = PROTOCOL.race(book, id, attempts, nowMs, claim);
      return change && { ...change, reservation: { ...change.reservation, attempts: [] } };
    },
  }),
  mutant("race-forgotten-on-reload", "an object that restarts has forgotten which attempts race", {
    shell: { ...PROTOCOL.shell, writesRaces: false },
  }),
  mutant("elect-charges-again", "each word of who made the answer charges it", {
    elect: (book, id, winner, nowMs) => {
      const change = PROTOCOL.elect(book, id, winner, nowMs);
      const known = book.reservation(id);
      if (change !== null || !known || known.attempts[winner]?.lost || known.settledTokens === 0)
        return change;
      return charged(book, known, known.settledTokens);
    },
  }),
  mutant("late-word-charges-too", "who is named after the other one was charged is charged as well", {
    elect: (book, id, winner, nowMs) => {
      const change = PROTOCOL.elect(book, id, winner, nowMs);
      const known = book.reservation(id);
      if (change !== null || !known?.attempts[winner]?.lost) return change;
      const attempts = known.attempts.map(({ lost: _, ...attempt }) => attempt);
      return charged(book, { ...known, attempts }, 1);
    },
  }),
  mutant("loser-reports-on", "what the loser reports after the election is charged", {
    elect: (book, id, winner, nowMs) => {
      const change = PROTOCOL.elect(book, id, winner, nowMs);
      if (change === null) return null;
      const attempts = change.reservation.attempts.map(({ lost: _, ...attempt }) => attempt);
      return { ...change, reservation: { ...change.reservation, attempts } };
    },
  }),
  mutant("one-final-ends-race", "the end of one attempt closes a request whose other one runs on", {
    report: (book, message, nowMs) => {
      const reported = PROTOCOL.report(book, message, nowMs);
      const { reservation } = reported.change;
      if (!message.final || reservation.state !== "open" || !isRacing(reservation)) return reported;
      const change = { ...reported.change, ...close(book, reported.change.accounts, reservation, "settled") };
      return { ...reported, change };
    },
  }),
  mutant(
    "next-attempt-ends-race",
    "the end of an attempt after both leaves open for good which one made the answer",
    {
      report: (book, message, nowMs) => {
        const reported = PROTOCOL.report(book, message, nowMs);
        const { reservation } = reported.change;
        const last = reservation.attempts.at(-1);
        if (!last?.final || last.racing || !awaitsWord(reservation)) return reported;
        const change = {
          ...reported.change,
          ...close(book, reported.change.accounts, reservation, "settled"),
        };
        return { ...reported, change };
      },
    },
  ),
  mutant(
    "unheard-one-pays",
    "where nothing was heard of either attempt in time, the first one pays if it ever reports",
    {
      expire: (book, id, nowMs) => PROTOCOL.expire(forgetful(book, firstPays), id, nowMs),
    },
  ),
  mutant("race-holds-nothing", "of what those that race have used, nothing is held", {
    report: (book, message, nowMs) => {
      const reported = PROTOCOL.report(book, message, nowMs);
      const before = book.reservation(message.requestId);
      const { reservation } = reported.change;
      if (!before || reservation.state !== "open" || !isRacing(reservation)) return reported;
      const more = reservation.heldTokens - before.heldTokens;
      const accounts = reported.change.accounts.map((purse) => book.purse.release(purse, more));
      const held = { ...reservation, heldTokens: before.heldTokens };
      return { ...reported, change: { ...reported.change, accounts, reservation: held } };
    },
  }),
  mutant("silent-edge-costs-nothing", "where nobody says who made the answer, nobody pays", {
    expire: (book, id, nowMs) => {
      const seen = forgetful(book, (known) => ({
        ...known,
        attempts: known.attempts.map(({ racing, ...attempt }) =>
          racing ? { ...attempt, ...NO_TOKENS, final: true, lost: true as const } : attempt,
        ),
      }));
      return PROTOCOL.expire(seen, id, nowMs);
    },
  }),
  mutant("silent-edge-pays-for-both", "where nobody says who made the answer, both are charged", {
    expire: (book, id, nowMs) => {
      const seen = forgetful(book, (known) => ({
        ...known,
        attempts: known.attempts.map(({ racing: _, ...attempt }) => attempt),
      }));
      return PROTOCOL.expire(seen, id, nowMs);
    },
  }),
  mutant("likely-winner-at-once", "the costlier attempt is charged as soon as it has ended", {
    report: (book, message, nowMs) => {
      const seen = forgetful(book, (known) => {
        const winner = message.final ? likelyWinner(known) : null;
        return winner === null ? known : (elected(known, winner) ?? known);
      });
      return PROTOCOL.report(seen, message, nowMs);
    },
  }),
  mutant("race-waits-for-good", "a request whose edge died in a race is held for good", {
    expire: (book, id, nowMs) => {
      const known = book.reservation(id);
      return known && isRacing(known) ? null : PROTOCOL.expire(book, id, nowMs);
    },
  }),
  mutant(
    "late-request-uncounted",
    "a request whose first report came late is counted only if that was its last",
    {
      report: (book, message, nowMs) => {
        const reported = PROTOCOL.report(book, message, nowMs);
        const counted = reported.change.counted && message.final;
        return { ...reported, change: { ...reported.change, counted } };
      },
    },
  ),
  mutant("race-keeps-block", "what a race takes out of a block stays in the block as well", {
    race: (book, id, attempts, nowMs, claim) => {
      const change = PROTOCOL.race(book, id, attempts, nowMs, claim);
      return change && { ...change, block: null };
    },
  }),
  mutant("late-race-begins", "a race may begin after one of its attempts was charged", {
    race: (book, id, attempts, nowMs, claim) => {
      const seen = forgetful(book, (known) => ({ ...known, attempts: [], settledTokens: 0 }));
      return PROTOCOL.race(seen, id, attempts, nowMs, claim);
    },
  }),
];

const NO_TOKENS = { promptTokens: 0, cachedTokens: 0, outputTokens: 0 };

/** Takes tokens from all accounts once more. */
function charged<P>(book: Book<P>, known: Reservation, tokens: number): Change<P> {
  const accounts = known.scopes.map((scope) => book.purse.settle(book.account(scope)!, tokens, 0));
  const reservation = { ...known, settledTokens: known.settledTokens + tokens };
  return { accounts, reservation, block: null, settled: NO_TOKENS, counted: false };
}

function firstPays(known: Reservation): Reservation {
  const winner = likelyWinner(known) ?? known.attempts.findIndex(({ racing }) => racing);
  return elected(known, winner) ?? known;
}
