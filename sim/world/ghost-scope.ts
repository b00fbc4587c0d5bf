import { DAY_MS } from "../../src/bounds.ts";
import type { Limits } from "../../src/catalogue.ts";
import { Intervals, Sliding } from "./intervals.ts";

/** A day, a request's longest life, and a slot: overrun older than that is in no window with what it displaced. */
const OVERRUN_COUNTS_MS = DAY_MS + 30 * 60_000;

/** What the ghost keeps of one scope. All times are the home's clock. */
export class ScopeWatch {
  readonly intervals = new Intervals();
  readonly made = new Sliding(DAY_MS);
  readonly overran = new Sliding(OVERRUN_COUNTS_MS);
  /** The rate at which the home's bucket refills. */
  perMinute: number;
  /** After a limit was lowered: what may still be spent of the old one. */
  drainTokens = 0;
  dayTokens: number;
  /** When the home's bucket was last brought up to date. */
  #touchedMs: number;
  /** Refill since then that `intervals` has been told of already. */
  #toldUnits = 0;

  constructor(limits: Limits, nowMs: number) {
    this.perMinute = limits.tokensPerMinute ?? Infinity;
    this.dayTokens = limits.tokensPerDay ?? Infinity;
    this.#touchedMs = nowMs;
  }

  /** The whole bucket: the most that can be spent without refill. */
  get bucketTokens(): number {
    return Math.max(finite(this.perMinute), finite(this.drainTokens));
  }

  /**
   * Tells `intervals` what the home would refill if it looked now; it accrues at the rate that is in force then. Less than
   * before, if its clock has stepped back since and the home never looked in between: then the time is still to come.
   */
  refill(nowMs: number): void {
    const units = this.#refillUnits(nowMs);
    this.intervals.refilled(units - this.#toldUnits);
    this.#toldUnits = units;
  }

  /** The home's row has it: no step of the clock takes it back, and none lets that time refill again. */
  settleRefill(atMs: number, nowMs: number): void {
    this.#touchedMs = Math.max(this.#touchedMs, atMs);
    this.#toldUnits = this.#refillUnits(nowMs);
    this.intervals.settle();
  }

  /** Limits that the home has taken. */
  take(limits: Limits, nowMs: number): void {
    this.settleRefill(nowMs, nowMs);
    this.perMinute = limits.tokensPerMinute ?? Infinity;
    this.dayTokens = Math.max(this.dayTokens, limits.tokensPerDay ?? Infinity);
    this.refill(nowMs);
  }

  #refillUnits(nowMs: number): number {
    return Math.max(0, nowMs - this.#touchedMs) * finite(this.perMinute);
  }
}

function finite(tokens: number): number {
  return tokens < Infinity ? tokens : 0;
}
