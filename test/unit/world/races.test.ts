import { describe, expect, it } from "vitest";
import { PROTOCOL, type Protocol } from "../../../sim/world/protocol.ts";
import { scheduleOf, settingOf } from "../../../sim/world/schedule.ts";
import { playSchedule } from "../../../sim/world/world.ts";
import { isRacing, type Reservation } from "../../../src/limits/reservation.ts";

const SEEDS = 200;

/** The protocol as it is, that notes what becomes of races. */
function noting(seen: Set<string>): Protocol {
  const ends = (before: Reservation | undefined, after: Reservation | undefined, by: string) => {
    if (before && after && isRacing(before) && !isRacing(after)) seen.add(`ended by ${by}, ${before.state}`);
  };
  return {
    ...PROTOCOL,
    race: (book, ...asked) => {
      const change = PROTOCOL.race(book, ...asked);
      const place = (book.purse as unknown) === PROTOCOL.homePurse ? "home" : "holder";
      if (change) seen.add(`begun at a ${place}`).add(change.block ? "begun out of a block" : "begun");
      else seen.add("refused");
      return change;
    },
    elect: (book, id, winner, nowMs) => {
      const before = book.reservation(id);
      const change = PROTOCOL.elect(book, id, winner, nowMs);
      ends(before, change?.reservation, "word");
      if (before && !change) seen.add("word that changes nothing");
      return change;
    },
    expire: (book, id, nowMs) => {
      const before = book.reservation(id);
      const change = PROTOCOL.expire(book, id, nowMs);
      ends(before, change?.reservation, "time");
      return change;
    },
    report: (book, message, nowMs) => {
      const before = book.reservation(message.requestId);
      if (before?.attempts[message.attempt]?.lost) seen.add("report of a loser");
      const reported = PROTOCOL.report(book, message, nowMs);
      ends(before, reported.change.reservation, "a late report");
      return reported;
    },
  };
}

describe("races in the simulator", () => {
  it("begin everywhere and end in every way that there is", { timeout: 60_000 }, () => {
    const seen = new Set<string>();
    const protocol = noting(seen);
    let raced = 0;
    for (let seed = 1; seed <= SEEDS; seed += 1) {
      if (settingOf(seed).racePerMille > 0) raced += playSchedule(scheduleOf(seed), protocol).tally.raced;
    }
    expect(raced).toBeGreaterThan(SEEDS);
    for (const what of ["begun at a home", "begun at a holder", "begun out of a block", "refused"])
      expect(seen).toContain(what);
    for (const by of ["word, open", "word, void", "word, settled", "time, open", "a late report, void"])
      expect(seen).toContain(`ended by ${by}`);
    for (const what of ["report of a loser", "word that changes nothing"]) expect(seen).toContain(what);
  });
});
