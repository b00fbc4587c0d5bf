import type { Clock } from "./clock.ts";
import type { Events } from "./events.ts";
import type { Random } from "./random.ts";
import type { Store } from "./store.ts";

const TIDY_MIN_GAP_MS = 1_000;
const ALARM_RETRY_MS = 2_000;
const ALARM_LATE_MS = 20_000;
/** Of what reaches an object while a stale copy of it lives, this share is served by the copy. */
const TWIN_PER_MILLE = 500;

/** What every object is told by the world that it lives in. */
export interface Surroundings {
  readonly events: Events;
  readonly random: Random;
  readonly crashPerMille: () => number;
  readonly twinMayWrite: boolean;
  readonly answersBeforeWriting: boolean;
  /** Looks at what a step left, before anything of it is sent. */
  readonly committed: (region: number) => void;
  /** An object lost its memory and has read its rows again. */
  readonly returned: (region: number) => void;
}

/**
 * One Durable Object: rows, memory, a clock and an alarm. A step is one turn: it reads rows, decides, writes all rows in
 * one transaction, and only then sends. It may be cut short before or after the write.
 */
export abstract class SimObject<P extends { readonly scope: string }> {
  readonly region: number;
  readonly clock: Clock;
  store: Store<P>;
  crashNext: "before" | "after" | null = null;
  calls = 0;
  crashes = 0;
  readonly #world: Surroundings;
  #outbox: (() => void)[] = [];
  #twin: { readonly store: Store<P>; readonly untilMs: number } | null = null;
  #frozenUntilMs = 0;
  #alarmAtMs: number | null = null;
  #alarmId = 0;

  constructor(region: number, clock: Clock, store: Store<P>, world: Surroundings) {
    this.region = region;
    this.clock = clock;
    this.store = store;
    this.#world = world;
  }

  /** Runs one turn; false when nothing of it left the object. */
  step(turn: (nowMs: number) => void): boolean {
    if (this.#world.events.nowMs < this.#frozenUntilMs) return false;
    this.calls += 1;
    const twin = this.#twin;
    if (twin !== null && this.#world.events.nowMs < twin.untilMs && this.#world.random.chance(TWIN_PER_MILLE))
      return this.#twinStep(twin.store, turn);
    const crash = this.#crashHere();
    turn(this.clock.nowMs());
    if (crash === "before") {
      if (this.#world.answersBeforeWriting) this.#flush();
      this.crash();
      return false;
    }
    const { store } = this;
    this.#world.committed(this.region);
    store.commit();
    if (crash === "after") {
      this.crash();
      return false;
    }
    this.#flush();
    return true;
  }

  /** Leaves with the turn's messages, once its rows are written. */
  afterwards(send: () => void): void {
    this.#outbox.push(send);
  }

  wakeBy(atMs: number | null): void {
    if (atMs === null || (this.#alarmAtMs !== null && this.#alarmAtMs <= atMs)) return;
    this.#alarmAtMs = atMs;
    const id = ++this.#alarmId;
    this.#world.events.after(Math.max(0, atMs - this.clock.nowMs()), () => this.#ring(id));
  }

  /** The process dies: memory, open turns and unsent messages are gone. */
  crash(): void {
    this.crashes += 1;
    this.store.forget();
    this.#outbox = [];
    this.forget();
    this.#world.returned(this.region);
  }

  /** Nothing reaches it and no alarm rings: its machine hangs. Rows and memory stay. */
  freeze(forMs: number): void {
    this.#frozenUntilMs = this.#world.events.nowMs + forMs;
  }

  /** From now on a copy with these rows may answer in its place. */
  splitOff(forMs: number): void {
    this.#twin = { store: this.store.copy(), untilMs: this.#world.events.nowMs + forMs };
  }

  /** Drops what only memory holds. */
  abstract forget(): void;
  /** What time brings; returns when to look again. */
  abstract tidy(nowMs: number): number | null;

  #crashHere(): "before" | "after" | null {
    const planned = this.crashNext;
    this.crashNext = null;
    if (planned !== null) return planned;
    if (!this.#world.random.chance(this.#world.crashPerMille())) return null;
    return this.#world.random.pick(["before", "after"]);
  }

  #twinStep(stale: Store<P>, turn: (nowMs: number) => void): boolean {
    const live = this.store;
    this.store = stale;
    turn(this.clock.nowMs());
    if (this.#world.twinMayWrite) stale.commit();
    else stale.abort();
    this.store = live;
    // Its writes fail, and what waits for them is never sent.
    if (this.#world.twinMayWrite) this.#flush();
    else this.#outbox = [];
    return this.#world.twinMayWrite;
  }

  #flush(): void {
    const sends = this.#outbox;
    this.#outbox = [];
    for (const send of sends) send();
  }

  #ring(id: number): void {
    if (id !== this.#alarmId) return;
    this.#alarmAtMs = null;
    let next: number | null = null;
    const done = this.step((nowMs) => {
      next = this.tidy(nowMs);
    });
    const nowMs = this.clock.nowMs();
    // Alarms are delivered at least once: one that failed rings again.
    const frozenMs = Math.max(0, this.#frozenUntilMs - this.#world.events.nowMs);
    if (!done) this.wakeBy(nowMs + frozenMs + this.#world.random.int(ALARM_RETRY_MS, ALARM_LATE_MS));
    else if (next !== null) this.wakeBy(Math.max(next, nowMs + TIDY_MIN_GAP_MS));
  }
}
