import { OBJECT_CALL_TIMEOUT_MS } from "../../src/bounds.ts";
import type { Run } from "./gate.ts";
import { type Random, randomFrom } from "./random.ts";
import type { World } from "./world.ts";

/** How late a first token is before a second attempt is made. */
const LATE_MAX_MS = 4_000;
/** From the second attempt on until one of them has answered, or both have failed. */
const ANSWER_MAX_MS = 20_000;
/** Until a gate notices that whom it serves is gone. */
const NOTICE_MAX_MS = 3_000;

/** Per mille of races at each of their stages. */
const EDGE_DIES = 80;
const CLIENT_LEAVES = 80;
/** A gate ends the loser before the budget knows that it lost: it failed by itself, or its call was cut. */
const LOSER_ENDS_FIRST = 200;

/** One answer that two attempts are made at, as the edge knows it. */
interface Race {
  readonly first: Run;
  second: Run | null;
  /** The attempt that the client is served by. */
  winner: number | null;
}

/**
 * Hedged requests, as production's `relay/hedge.ts` plays them: where the first token is late a second attempt is made at
 * another gate, the one that answers serves, and only that one is charged. Each isolate may die at every step of it. Of a
 * random sequence of its own, so that the other parts of a seed do not hang on it.
 */
export class Races {
  readonly #world: World;
  readonly #random: Random;
  readonly #races = new Map<string, Race>();

  constructor(world: World, seed: number) {
    this.#world = world;
    this.#random = randomFrom(seed ^ 0x1b56c4e9);
  }

  /** Whether a request's first token will be late. */
  isDrawn(): boolean {
    const { racePerMille } = this.#world.setting;
    return racePerMille > 0 && this.#random.chance(racePerMille);
  }

  /** Its first attempt is called now. Returns in how many milliseconds its engine begins with it. */
  begin(region: number, first: Run): number {
    const race: Race = { first, second: null, winner: null };
    this.#races.set(first.id, race);
    this.#world.ghost.mayRace(first, attemptsOf(race));
    const lateMs = this.#random.int(0, LATE_MAX_MS);
    this.#world.events.after(lateMs, () => this.#ask(region, race));
    // Mostly that it is late means that it has not begun.
    return this.#random.chance(250) ? this.#random.int(1, 300) : lateMs + this.#random.int(0, LATE_MAX_MS);
  }

  /** Whether an attempt is what its client gets: of those that race it has to be the one that serves. */
  serves({ attempt, id }: Run): boolean {
    const race = this.#races.get(id);
    return race === undefined || !attemptsOf(race).includes(attempt) || race.winner === attempt;
  }

  /** The number of the next attempt, should this one break off. */
  next({ attempt, id }: Run): number {
    const race = this.#races.get(id);
    return race === undefined ? attempt + 1 : Math.max(attempt, race.first.attempt + 1) + 1;
  }

  #ask(region: number, race: Race): void {
    if (this.#dies()) {
      this.#abandoned(race);
      return;
    }
    const { at, claim, id } = race.first;
    const isAlive = this.#life(region);
    const decide = this.#once((may: boolean) => {
      if (!isAlive() || this.#dies()) this.#abandoned(race);
      else if (may) this.#second(region, race);
      else this.#alone(region, race);
    });
    this.#send(region, at, () => {
      const reply = (may: boolean) => this.#send(region, at, () => decide(may));
      this.#world.object(at).race(id, attemptsOf(race), claim ?? undefined, reply);
    });
    this.#world.events.after(OBJECT_CALL_TIMEOUT_MS, () => decide(false));
  }

  /** Only the first one runs, whatever the budget has taken note of. */
  #alone(region: number, race: Race): void {
    race.winner = race.first.attempt;
    this.#elect(region, race.first, race.winner, () => undefined);
  }

  #second(region: number, race: Race): void {
    const { events, gates, ghost, tally } = this.#world;
    const { first } = race;
    const second: Run = {
      ...first,
      attempt: first.attempt + 1,
      outputTokens: this.#random.chance(500) ? first.outputTokens : this.#random.int(0, first.outputTokens),
      generatedTokens: 0,
      ...{ state: "runs", retryIn: 0, retries: 0 },
    };
    race.second = second;
    ghost.races(first.id);
    tally.raced += 1;
    const gate = gates[this.#random.int(0, gates.length - 1)]!;
    events.after(this.#random.int(1, 300), () => gate.start(second));
    const isAlive = this.#life(region);
    events.after(this.#random.int(0, this.#random.pick([300, 3_000, ANSWER_MAX_MS])), () => {
      if (!isAlive() || this.#dies()) this.#abandoned(race);
      else this.#answered(region, race, this.#random.pick([first, second]));
    });
  }

  #answered(region: number, race: Race, winner: Run): void {
    const loser = winner === race.first ? race.second! : race.first;
    const lose = () => this.#giveUp(loser);
    if (this.#random.chance(LOSER_ENDS_FIRST)) lose();
    if (this.#random.chance(CLIENT_LEAVES)) {
      const { at, claim, id } = winner;
      this.#giveUp(winner);
      lose();
      this.#send(region, at, () => this.#world.object(at).end("cancel", id, claim ?? undefined));
    } else {
      race.winner = winner.attempt;
    }
    this.#elect(region, winner, winner.attempt, lose);
  }

  #elect(region: number, { at, id }: Run, winner: number, then: () => void): void {
    const told = this.#once(then);
    this.#send(region, at, () => {
      this.#world.object(at).elect(id, winner, () => this.#send(region, at, () => told(undefined)));
    });
    this.#world.events.after(OBJECT_CALL_TIMEOUT_MS, () => told(undefined));
  }

  /** Nobody is there any more who could say who made the answer. Gates notice, or their streams run out. */
  #abandoned(race: Race): void {
    for (const run of [race.first, race.second]) {
      if (run === null || this.#random.chance(300)) continue;
      this.#world.events.after(this.#random.int(0, NOTICE_MAX_MS), () => this.#giveUp(run));
    }
  }

  #giveUp(run: Run): void {
    for (const gate of this.#world.gates) gate.giveUp(run);
  }

  /** Tells later whether the isolate that asks now has lived on. */
  #life(region: number): () => boolean {
    const isolate = this.#world.isolates[region]!;
    const { life } = isolate;
    return () => isolate.life === life;
  }

  #dies(): boolean {
    return !this.#world.healed && this.#random.chance(EDGE_DIES);
  }

  /** A call is answered or given up, whichever comes first. */
  #once<T>(run: (value: T) => void): (value: T) => void {
    let done = false;
    return (value) => {
      if (done) return;
      done = true;
      run(value);
    };
  }

  #send(region: number, at: number, deliver: () => void): void {
    this.#world.network.send(`worker:${region}`, this.#world.sites.latencyMs(region, at), deliver);
  }
}

function attemptsOf({ first: { attempt } }: Race): readonly number[] {
  return [attempt, attempt + 1];
}
