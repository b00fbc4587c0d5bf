import type { Wait } from "../../sim/fleet/replay.ts";
import { BANDS, type Band } from "../../src/routing/messages.ts";
import { OURS } from "./goals.ts";
import type { Played } from "./measure.ts";

/** How far predicted waits were off. */

/** What counts as right: off by no more than this share of the real wait, or by no more than this. */
const RIGHT_SHARE = 0.25;
const RIGHT_MS = 300;

/** Error: real less predicted wait, so above 0 where a request waited longer than it was told. */
export interface WaitFigures {
  readonly isOverload: boolean;
  readonly speed: number;
  readonly band: Band;
  /** Of all requests, that were held at least once. */
  readonly heldShare: number;
  /** Stays in the queue, of all seeds together; a request that is refused after one comes again. */
  readonly waits: number;
  readonly realP50Ms: number;
  readonly errorP10Ms: number;
  readonly errorP50Ms: number;
  readonly errorP90Ms: number;
  /** Off by at most 25 % of the real wait or 300 ms. Who was not sent in the end counts as not. */
  readonly rightShare: number;
  /** Of the waits: over without being sent. Their errors are counted as if they had been sent then: erring low. */
  readonly unsentShare: number;
}

/** The waits of one band in one load. */
export interface WaitGroup {
  readonly isOverload: boolean;
  readonly speed: number;
  readonly band: Band;
  requests: number;
  held: number;
  readonly waits: Wait[];
}

/** Collects what `predicted-ttft` said to whom it held, on the engine with a host tier, over all runs. */
export class WaitRecord {
  readonly #groups = new Map<string, WaitGroup>();

  add({ contender, engine, speed, outcomes }: Played, isOverload: boolean): void {
    if (contender !== OURS || engine !== "h") return;
    for (const { call, waits } of outcomes) {
      const group = this.#group(isOverload, speed, call.band);
      group.requests += 1;
      if (waits.length > 0) group.held += 1;
      group.waits.push(...waits);
    }
  }

  /** By load, then by band; without those where nobody was held. */
  groups(): WaitGroup[] {
    const order = ({ isOverload, speed, band }: WaitGroup) =>
      Number(isOverload) * 1e6 + speed * 1e3 + BANDS.indexOf(band);
    return [...this.#groups.values()]
      .filter(({ waits }) => waits.length > 0)
      .sort((one, other) => order(one) - order(other));
  }

  #group(isOverload: boolean, speed: number, band: Band): WaitGroup {
    const key = `${isOverload}/${speed}/${band}`;
    const known = this.#groups.get(key);
    if (known) return known;
    const group: WaitGroup = { isOverload, speed, band, requests: 0, held: 0, waits: [] };
    this.#groups.set(key, group);
    return group;
  }
}

export function waitFigures({ isOverload, speed, band, requests, held, waits }: WaitGroup): WaitFigures {
  const errors = sorted(waits.map(({ predictedMs, realMs }) => realMs - predictedMs));
  const unsent = waits.filter(({ isSent }) => !isSent).length;
  return {
    ...{ isOverload, speed, band, heldShare: held / requests, waits: waits.length },
    realP50Ms: at(sorted(waits.map(({ realMs }) => realMs)), 0.5),
    errorP10Ms: at(errors, 0.1),
    errorP50Ms: at(errors, 0.5),
    errorP90Ms: at(errors, 0.9),
    rightShare: waits.filter(isRight).length / waits.length,
    unsentShare: unsent / waits.length,
  };
}

function isRight({ predictedMs, realMs, isSent }: Wait): boolean {
  return isSent && Math.abs(realMs - predictedMs) <= Math.max(RIGHT_MS, RIGHT_SHARE * realMs);
}

/** The shortest and the longest real wait with which this prediction is right; the inverse of `isRight`. */
export function rightRangeMs(predictedMs: number): { fromMs: number; toMs: number } {
  return {
    fromMs: Math.max(0, Math.min(predictedMs - RIGHT_MS, predictedMs / (1 + RIGHT_SHARE))),
    toMs: Math.max(predictedMs + RIGHT_MS, predictedMs / (1 - RIGHT_SHARE)),
  };
}

function sorted(values: readonly number[]): number[] {
  return [...values].sort((one, other) => one - other);
}

function at(ascending: readonly number[], share: number): number {
  return ascending[Math.floor(share * ascending.length)]!;
}
