import { type Book, limitsOf } from "../../src/limits/book.ts";
import { type Attempt, owedTokens, presumed, type Reservation } from "../../src/limits/reservation.ts";
import { check } from "./violation.ts";

/** What an object was told in a transaction and what decides who is charged. */
export interface Word {
  readonly id: string;
  readonly says: "elect" | "cancel" | "report";
  /** Of an election. */
  readonly winner?: number;
}

interface Rows<P> extends Book<P> {
  readonly touched: ReadonlySet<string>;
  readonly words: readonly Word[];
}

interface Watched {
  /** The object that holds its reservation; another may have made one that nothing runs on. */
  readonly at: number;
  readonly attempts: readonly number[];
  /** Both run: the budget has said that they may. */
  races: boolean;
  /** The one that the tenant pays for; whatever the other makes is ours. */
  charged: number | null;
  cancelled: boolean;
  /** As the row had it last. */
  deadlineMs: number;
}

/**
 * Knows of each answer that two attempts are made at which of them is charged, and that it is one: whom the edge named, if
 * that word came in time, else the costlier.
 */
export class RaceGhost {
  readonly #races = new Map<string, Watched>();

  mayRace(at: number, id: string, attempts: readonly number[]): void {
    this.#races.set(id, {
      at,
      attempts,
      races: false,
      charged: null,
      cancelled: false,
      deadlineMs: -Infinity,
    });
  }

  races(id: string): void {
    this.#races.get(id)!.races = true;
  }

  /** Whether the tenant pays for an attempt, as far as that is decided. */
  isCharged(id: string, attempt: number): boolean {
    const race = this.#races.get(id);
    return race === undefined || !race.attempts.includes(attempt) || race.charged === attempt;
  }

  /** Of the attempts at a request, those that the tenant pays for, by who may turn out to have made the answer. */
  outcomes<R extends { readonly attempt: number }>(id: string, runs: readonly R[]): R[][] {
    const race = this.#races.get(id);
    if (race === undefined) return [[...runs]];
    const winners = race.charged === null ? race.attempts : [race.charged];
    const loses = (attempt: number, winner: number) => race.attempts.includes(attempt) && attempt !== winner;
    return winners.map((winner) => runs.filter(({ attempt }) => !loses(attempt, winner)));
  }

  /** Whether it is known that the tenant does not pay for an attempt. */
  isLost(id: string, attempt: number): boolean {
    const race = this.#races.get(id);
    const charged = race?.charged ?? null;
    return charged !== null && race!.attempts.includes(attempt) && charged !== attempt;
  }

  /** One step of an object, before it is committed. Returns the requests of which it has decided who is charged. */
  step<P>(at: number, rows: Rows<P>, nowMs: number): string[] {
    const decided: string[] = [];
    for (const id of rows.touched) {
      const race = this.#races.get(id);
      if (race?.at !== at) continue;
      const row = rows.reservation(id)!;
      const before = race.charged;
      this.#row(rows, row, race, nowMs);
      race.deadlineMs = row.deadlineMs;
      if (race.charged !== before) decided.push(id);
    }
    return decided;
  }

  #row<P>(rows: Rows<P>, row: Reservation, race: Watched, nowMs: number): void {
    const { id } = row;
    const words = rows.words.filter((word) => word.id === id);
    race.cancelled ||= words.some(({ says }) => says === "cancel");
    const racers = race.attempts.map((attempt): Attempt | undefined => row.attempts[attempt]);
    const kept = race.attempts.filter((_, index) => racers[index] && !racers[index].lost);
    if (racers.some((racer) => racer?.racing)) {
      const heard = racers.some((racer) => racer?.racing && !racer.unheard);
      const open = row.state === "open" || race.cancelled || !heard;
      check(race.charged === null, "I7", () => `${id} races again, and attempt ${race.charged} was charged`);
      check(open, "I7", () => `${id} is closed, and nobody has said who made the answer`);
      this.#covers(rows, row, words, nowMs);
      return;
    }
    // Where there was one attempt after all, it is charged once anything is heard of it.
    if (!race.races) {
      if (racers[0] && !racers[0].unheard) race.charged = race.attempts[0]!;
      return;
    }
    check(kept.length === 1, "I7", () => `${kept.length} attempts at the one answer of ${id} are charged`);
    const [charged] = kept;
    const again = race.charged === null || race.charged === charged;
    check(again, "I7", () => `attempt ${race.charged} of ${id} was charged, and now ${charged} is`);
    if (race.charged === null) {
      const named = words.some(({ says, winner }) => says === "elect" && winner === charged);
      const late = nowMs >= race.deadlineMs;
      check(named || late, "I7", () => `${id} charges attempt ${charged}, which nobody has named`);
      const heard = named || !row.attempts[charged!]!.unheard;
      check(heard, "I7", () => `${id} charges attempt ${charged}, of which nothing was ever heard`);
    }
    race.charged = charged!;
  }

  /** I2: of what may be charged, all is held that there is room for, so that no time without an election overruns. */
  #covers<P>(rows: Rows<P>, row: Reservation, words: readonly Word[], nowMs: number): void {
    if (row.state !== "open" || rows.touched.size > 1 || words.length !== 1 || words[0]!.says !== "report")
      return;
    const owed = owedTokens(presumed(row), true);
    const missing = owed - row.settledTokens - row.heldTokens;
    if (missing <= 0) return;
    const { purse, record } = rows;
    const room = Math.min(
      ...row.scopes.map((scope) => {
        const limits = limitsOf(record, scope);
        return purse.extendable(rows.account(scope)!, limits, missing, nowMs);
      }),
    );
    check(room === 0, "I2", () => `${row.id} may be charged ${missing} tokens that it does not hold`);
  }
}
