import type { Away } from "../contract/continuation.ts";
import type { OriginOrder } from "../contract/origin-token.ts";
import type { Outcome, Usage, UsageReport } from "../contract/report.ts";
import type { Tallies } from "./tallies.ts";

/** A request that runs. */
export interface Running {
  readonly order: OriginOrder;
  /** True once a token was seen or anything was sent to the edge. */
  readonly begun: boolean;
  /** True while there are tokens of which the edge got nothing: one JSON that is still being made. */
  readonly unsent: boolean;
  usage(): Usage;
  stop(): void;
  giveUp(): void;
  /** True while another engine could carry it on. */
  readonly movable: boolean;
  /** Cuts it off for the edge to carry on elsewhere. */
  move(away: Away): void;
  replicaGone(gapMs: number): void;
}

interface Entry {
  readonly running: Running;
  /** What the last report said, for the pace. */
  reportedOutput: number;
  reportedAtMs: number;
  tokensPerSecond: number;
  /** Tokens that are in the tallies already. */
  tallied: number;
}

/** Characters of a usage report beside its ticket, at most. */
const REPORT_FIELDS_CHARS = 240;

/** Every open request and what it has used. */
export class Meter {
  readonly #open = new Map<string, Entry>();
  readonly #tallies: Tallies;

  constructor(tallies: Tallies) {
    this.#tallies = tallies;
  }

  get open(): number {
    return this.#open.size;
  }

  /** @param nowMs monotonic */
  begin(running: Running, nowMs: number): void {
    this.#open.set(keyOf(running.order), {
      running,
      reportedOutput: 0,
      reportedAtMs: nowMs,
      tokensPerSecond: 0,
      tallied: 0,
    });
  }

  /** Nothing more will be counted for it. Its tokens join the tallies, whoever pays for them. */
  end(running: Running): void {
    const entry = this.#open.get(keyOf(running.order));
    if (entry === undefined) return;
    this.#tally(entry);
    this.#open.delete(keyOf(running.order));
  }

  /**
   * What each open request has used so far, those first that were reported longest ago. A request without a token
   * may still fail over under the same reservation, so nothing is said of it, until its token has expired: then
   * silence would void the reservation.
   * @param nowMs monotonic
   */
  progress(limit: { entries: number; chars: number }, nowMs: number, epochMs: number): UsageReport[] {
    const reports: UsageReport[] = [];
    let chars = 0;
    for (const [key, entry] of [...this.#open]) {
      this.#tally(entry);
      const { running } = entry;
      if (!running.begun && epochMs < running.order.startByMs) continue;
      chars += running.order.ticket.length + REPORT_FIELDS_CHARS;
      if (reports.length >= limit.entries || chars > limit.chars) continue;
      reports.push(this.#report(entry, nowMs));
      this.#open.delete(key);
      this.#open.set(key, entry);
    }
    return reports;
  }

  /** Ends every attempt of a request whose budget is used up. */
  stop(requestIds: readonly string[]): void {
    if (requestIds.length === 0) return;
    const ids = new Set(requestIds);
    for (const { running } of [...this.#open.values()]) {
      if (ids.has(running.order.requestId)) running.stop();
    }
  }

  all(): Running[] {
    return [...this.#open.values()].map(({ running }) => running);
  }

  giveUpAll(): void {
    for (const { running } of [...this.#open.values()]) running.giveUp();
  }

  replicaGone(replica: string, gapMs: number): void {
    for (const { running } of [...this.#open.values()]) {
      if (running.order.replica === replica) running.replicaGone(gapMs);
    }
  }

  #report(entry: Entry, nowMs: number): UsageReport {
    const usage = entry.running.usage();
    const seconds = (nowMs - entry.reportedAtMs) / 1_000;
    if (seconds > 0) {
      const pace = Math.max(0, usage.outputTokens - entry.reportedOutput) / seconds;
      // The mean of the newest pace and those before: a burst after a pause is no new pace.
      entry.tokensPerSecond = entry.tokensPerSecond === 0 ? pace : (entry.tokensPerSecond + pace) / 2;
      entry.reportedOutput = usage.outputTokens;
      entry.reportedAtMs = nowMs;
    }
    const tokensPerSecond = Math.min(1e6, Math.round(entry.tokensPerSecond * 100) / 100);
    const { order, unsent } = entry.running;
    const report = { ticket: order.ticket, usage: { ...usage }, final: false, tokensPerSecond };
    return unsent ? { ...report, unsent } : report;
  }

  #tally(entry: Entry): void {
    const { order } = entry.running;
    const tokens = flowOf(entry.running.usage());
    this.#tallies.tokens(order.replica, order.servedModel, tokens - entry.tallied);
    entry.tallied = tokens;
  }
}

export const NO_USAGE: Usage = { promptTokens: 0, cachedTokens: 0, outputTokens: 0 };

/** Tokens that the engine worked for: what came from its prefix cache was free. */
export function flowOf(usage: Usage): number {
  return usage.promptTokens - usage.cachedTokens + usage.outputTokens;
}

/** The last word on a request. */
export function finalReport(
  order: OriginOrder,
  usage: Usage,
  outcome: Outcome,
  estimated: boolean,
  carriedOn = false,
  firstTokenMs: number | null = null,
): UsageReport {
  const report: UsageReport = { ticket: order.ticket, usage: { ...usage }, final: true, outcome };
  return {
    ...report,
    ...(estimated ? { estimated } : {}),
    ...(carriedOn ? { carriedOn } : {}),
    ...(firstTokenMs === null ? {} : { firstTokenMs: Math.round(firstTokenMs) }),
  };
}

function keyOf(order: OriginOrder): string {
  return `${order.requestId}/${order.attempt}`;
}
