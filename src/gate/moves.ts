import type { Away } from "../contract/continuation.ts";
import { MOVE_LOOK_MS } from "./bounds.ts";
import type { Clock } from "./clock.ts";
import type { Meter, Running } from "./meter.ts";

interface Drain {
  readonly sinceMs: number;
  readonly drainMs: number;
}

export interface MovesParts {
  readonly meter: Meter;
  readonly clock: Clock;
  readonly random: () => number;
}

/**
 * Hands streams over to other replicas when something leaves that they run on: this gate, their replica, the whole pool.
 * Each may finish within the first half of the time to drain; then those that another engine can carry on are cut off
 * one by one, spread over the second half, so that a drain is no storm for whoever takes them. All others run on: what
 * ends them is the end of what leaves.
 */
export class Moves {
  readonly #parts: MovesParts;
  readonly #drains = new Map<string, Drain>();
  /** When in the second half each stream goes, 0 to 1. */
  readonly #turns = new WeakMap<Running, number>();
  #timer: NodeJS.Timeout | undefined;

  constructor(parts: MovesParts) {
    this.#parts = parts;
  }

  /** This gate leaves. */
  gate(drainMs: number): void {
    this.#drain("gate", drainMs);
  }

  /** What the edge says of the pool; null: it works. */
  pool(drainMs: number | null): void {
    this.#drain("pool", drainMs);
  }

  replica(id: string, drainMs: number | null): void {
    this.#drain(`replica/${id}`, drainMs);
  }

  close(): void {
    clearInterval(this.#timer);
    this.#timer = undefined;
    this.#drains.clear();
  }

  #drain(what: string, drainMs: number | null): void {
    const { clock } = this.#parts;
    if (drainMs === null) this.#drains.delete(what);
    else this.#drains.set(what, { sinceMs: this.#drains.get(what)?.sinceMs ?? clock.monotonicMs(), drainMs });
    if (this.#drains.size === 0) this.close();
    else this.#timer ??= setInterval(() => this.#look(), MOVE_LOOK_MS);
  }

  #look(): void {
    const nowMs = this.#parts.clock.monotonicMs();
    for (const running of this.#parts.meter.all()) {
      if (!running.movable) continue;
      const away = this.#leaving(running, nowMs);
      if (away !== null) running.move(away);
    }
  }

  #leaving(running: Running, nowMs: number): Away | null {
    let turn = this.#turns.get(running);
    if (turn === undefined) {
      turn = this.#parts.random();
      this.#turns.set(running, turn);
    }
    const isDue = (drain: Drain | undefined) =>
      drain !== undefined && nowMs - drain.sinceMs >= (drain.drainMs * (1 + turn)) / 2;
    if (isDue(this.#drains.get("pool"))) return "pool";
    if (isDue(this.#drains.get("gate"))) return "gate";
    return isDue(this.#drains.get(`replica/${running.order.replica}`)) ? "replica" : null;
  }
}
