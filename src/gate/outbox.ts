import { REPORT_BACKLOG_MAX, REPORT_ENTRIES_MAX, REPORT_INTERVAL_MS, REPORT_MAX_BYTES } from "../bounds.ts";
import type { EngineDeath, Tally, UsageReport } from "../contract/report.ts";
import type { Deaths } from "./deaths.ts";
import type { Journal } from "./journal.ts";
import type { Meter } from "./meter.ts";
import type { Tallies } from "./tallies.ts";

/** What is sent again unchanged, under the same number, until the edge has it. */
export interface Batch {
  readonly sequence: number;
  readonly usage: readonly UsageReport[];
  readonly tallies: readonly Tally[];
  readonly deaths: readonly EngineDeath[];
  readonly cleared: readonly string[];
}

/** Tickets may be up to 2 KB each; replicas and tallies need the other half. */
const USAGE_MAX_CHARS = REPORT_MAX_BYTES / 2;
const FINAL_FIELDS_CHARS = 270;

/**
 * Final reports that the edge does not have yet. Each stays until a batch with it was acknowledged: an edge that
 * is out of reach for a while gets every bill later.
 */
export class Outbox {
  #ready: UsageReport[] = [];
  /** Those that the edge could not settle now. */
  #deferred: UsageReport[] = [];
  #deferredUntilMs = 0;
  #pending: Batch | null = null;
  #sequence = 0;
  readonly #journal: Journal | null;
  dropped = 0;

  constructor(journal: Journal | null = null) {
    this.#journal = journal;
    if (journal !== null) this.#ready.push(...journal.left);
  }

  /** Final reports that wait, those under way included. */
  get backlog(): number {
    const underWay = this.#pending?.usage.filter(({ final }) => final).length ?? 0;
    return this.#ready.length + this.#deferred.length + underWay;
  }

  get empty(): boolean {
    return this.#pending === null && this.#ready.length === 0 && this.#deferred.length === 0;
  }

  /** When the next final report may go, in monotonic milliseconds; null when none waits. */
  readyAtMs(): number | null {
    if (this.#ready.length > 0 || this.#pending !== null) return 0;
    return this.#deferred.length > 0 ? this.#deferredUntilMs : null;
  }

  add(report: UsageReport): void {
    this.#ready.push(report);
    this.#journal?.add(report);
    if (this.#ready.length + this.#deferred.length <= REPORT_BACKLOG_MAX) return;
    this.dropped += 1;
    if (this.#deferred.shift() === undefined) this.#ready.shift();
  }

  /** The batch to send now: the one that failed before, or a new one with the final reports first. */
  next(meter: Meter, tallies: Tallies, deaths: Deaths, nowMs: number, epochMs: number): Batch {
    if (this.#pending !== null) return this.#pending;
    if (nowMs >= this.#deferredUntilMs && this.#deferred.length > 0) {
      this.#ready = this.#deferred.concat(this.#ready);
      this.#deferred = [];
    }
    let chars = 0;
    let count = 0;
    while (count < this.#ready.length && count < REPORT_ENTRIES_MAX) {
      chars += this.#ready[count]!.ticket.length + FINAL_FIELDS_CHARS;
      if (chars > USAGE_MAX_CHARS) break;
      count += 1;
    }
    const finals = this.#ready.splice(0, count);
    const room = { entries: REPORT_ENTRIES_MAX - count, chars: Math.max(0, USAGE_MAX_CHARS - chars) };
    const usage = [...finals, ...meter.progress(room, nowMs, epochMs)];
    this.#sequence += 1;
    this.#pending = { sequence: this.#sequence, usage, tallies: tallies.take(), ...deaths.take() };
    return this.#pending;
  }

  /** The edge has it. `again` are indexes into the batch's usage that it could not settle now. */
  acknowledge(batch: Batch, again: readonly number[], nowMs: number): void {
    if (this.#pending !== batch) return;
    this.#pending = null;
    // What is not final comes again by itself: the request is still open, or its final report waits.
    const kept = again.map((index) => batch.usage[index]).filter((report) => report?.final === true);
    if (kept.length > 0) {
      this.#deferred.push(...(kept as UsageReport[]));
      this.#deferredUntilMs = nowMs + REPORT_INTERVAL_MS;
    }
    this.#journal?.taken([...this.#deferred, ...this.#ready]);
  }
}
