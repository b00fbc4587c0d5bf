import { OBJECT_ASKED_PER_SECOND, OBJECT_DRAWN_PER_SECOND } from "../../../src/limits/bounds.ts";
import {
  asking,
  COLD,
  type Heat,
  heard,
  heated,
  type ShardChoice,
  UNCHOSEN,
  worked,
} from "../../../src/limits/shards.ts";

/**
 * Isolates of one location that choose among its objects, each with a steady demand (1: all that one object can do). An
 * object does no more than it can; isolates hear of it every so often, as they ask.
 */
export interface Isolate {
  readonly load: number;
  /** Between two answers. */
  readonly everyMs: number;
}

const STEP_MS = 100;

export class ShardWorld {
  nowMs = 1_800_000_000_000;
  isolates: readonly Isolate[];
  choices: ShardChoice[];
  readonly heats: Heat[] = Array.from({ length: 8 }, () => COLD);
  /** By isolate. */
  moves: number[];
  readonly #random: () => number;

  constructor(isolates: readonly Isolate[], random: () => number) {
    this.isolates = isolates;
    this.choices = isolates.map(() => UNCHOSEN);
    this.moves = isolates.map(() => 0);
    this.#random = random;
  }

  /** What isolates ask of each shard. */
  demands(): number[] {
    const sums = Array.from({ length: 8 }, () => 0);
    for (const [index, { shard }] of this.choices.entries()) sums[shard]! += this.isolates[index]!.load;
    return sums;
  }

  /** Lets time pass. Returns the largest demand at one shard that was seen. */
  pass(seconds: number): number {
    let most = 0;
    for (let ms = 0; ms < seconds * 1_000; ms += STEP_MS) {
      most = Math.max(most, ...this.#step());
    }
    return most;
  }

  #step(): number[] {
    this.nowMs += STEP_MS;
    const demands = this.demands();
    for (const [shard, load] of demands.entries()) {
      this.heats[shard] = heated(this.heats[shard]!, half(Math.min(1, load), STEP_MS), this.nowMs);
    }
    for (const [index, isolate] of this.isolates.entries()) {
      const { everyMs, load } = isolate;
      const worn = Math.min(1, 1 / demands[this.choices[index]!.shard]!);
      this.choices[index] = worked(this.choices[index]!, half(load * worn, STEP_MS), this.nowMs);
      const turn = (this.nowMs + index * STEP_MS * 7) % Math.max(STEP_MS, everyMs);
      if (turn < STEP_MS && load > 0) this.#ask(index);
    }
    return demands;
  }

  #ask(index: number): void {
    const before = this.choices[index]!;
    const { choice, shard } = asking(before, this.nowMs);
    this.heats[shard] = heated(this.heats[shard]!, { asked: 1, drawn: 0 }, this.nowMs);
    const { load } = this.heats[shard]!;
    const after = heard(choice, { shard, load }, this.nowMs, this.#random);
    this.choices[index] = after;
    if (after.shard !== before.shard) this.moves[index]! += 1;
  }
}

/** A demand as requests, half of it asked for and half out of blocks. */
function half(load: number, ms: number) {
  const part = (load * ms) / 2_000;
  return { asked: part * OBJECT_ASKED_PER_SECOND, drawn: part * OBJECT_DRAWN_PER_SECOND };
}
