import {
  REPORT_IDLE_INTERVAL_MS,
  REPORT_INTERVAL_MS,
  REPORT_MIN_GAP_MS,
  REPORT_TIMEOUT_MS,
} from "../bounds.ts";
import {
  GATE_SIGNATURE_HEADER,
  type GateReply,
  type GateReport,
  gateReplySchema,
  type ReplicaReport,
  signReport,
  type UsageReport,
} from "../contract/report.ts";
import { REPORT_BACKOFF_MAX_MS, REPORT_BACKOFF_MIN_MS } from "./bounds.ts";
import type { Clock } from "./clock.ts";
import type { Deaths } from "./deaths.ts";
import type { Log } from "./log.ts";
import type { Meter } from "./meter.ts";
import type { Batch, Outbox } from "./outbox.ts";
import type { Tallies } from "./tallies.ts";

/** How long it waits between two reports: while there is traffic, while there is none, and at the least. */
export interface Cadence {
  readonly busyMs: number;
  readonly idleMs: number;
  readonly gapMs: number;
}

export const CADENCE: Cadence = {
  busyMs: REPORT_INTERVAL_MS,
  idleMs: REPORT_IDLE_INTERVAL_MS,
  gapMs: REPORT_MIN_GAP_MS,
};

/** Delivers one report. Rejects unless the edge took it. */
export type Post = (report: GateReport) => Promise<GateReply>;

export interface ReporterParts {
  readonly pool: string;
  readonly gate: string;
  readonly meter: Meter;
  readonly outbox: Outbox;
  readonly tallies: Tallies;
  readonly deaths: Deaths;
  readonly replicas: () => ReplicaReport[];
  readonly draining: () => boolean;
  /** What the edge says of the pool: its time to drain, or null while it works. */
  readonly onDrain: (drainMs: number | null) => void;
  readonly post: Post;
  readonly cadence: Cadence;
  readonly clock: Clock;
  readonly random: () => number;
  readonly log: Log;
}

/**
 * Tells the edge what is used and how the replicas are, in one batch at a time: each second while there is
 * traffic, sooner when a request ended or a replica changed, and now and then when nothing happens at all.
 */
export class Reporter {
  readonly #parts: ReporterParts;
  #timer: NodeJS.Timeout | undefined;
  #inFlight = false;
  #lastSentAtMs = Number.NEGATIVE_INFINITY;
  #hurried = true;
  #failures = 0;
  #backoffUntilMs = 0;
  #closed = false;
  #settled: (() => void)[] = [];
  sent = 0;
  failed = 0;

  constructor(parts: ReporterParts) {
    this.#parts = parts;
  }

  /** The last word on a request: kept until the edge has it. */
  final(report: UsageReport): void {
    this.#parts.outbox.add(report);
    this.wake();
  }

  /** A replica or the gate itself changed its state: the edge should know at once. */
  hurry(): void {
    this.#hurried = true;
    this.wake();
  }

  /** Looks at what there is to send and sleeps until it is due. */
  wake(): void {
    if (this.#inFlight || this.#closed) return;
    clearTimeout(this.#timer);
    const waitMs = this.#dueAtMs() - this.#parts.clock.monotonicMs();
    if (waitMs <= 0) void this.#send();
    else this.#timer = setTimeout(() => this.wake(), Math.max(1, Math.ceil(waitMs)));
  }

  /** Resolves when the edge knows all that it should. The caller bounds the wait. */
  async delivered(): Promise<void> {
    while (!this.#closed && (this.#hurried || this.#inFlight || !this.#parts.outbox.empty)) {
      this.wake();
      await new Promise<void>((resolve) => this.#settled.push(resolve));
    }
  }

  close(): void {
    this.#closed = true;
    clearTimeout(this.#timer);
    this.#notifySettled();
  }

  #dueAtMs(): number {
    const { outbox, meter, tallies, cadence } = this.#parts;
    if (this.#failures > 0) return this.#backoffUntilMs;
    const soonestMs = this.#lastSentAtMs + cadence.gapMs;
    if (this.#hurried) return soonestMs;
    const busy = meter.open > 0 || !tallies.empty;
    const routineMs = this.#lastSentAtMs + (busy ? cadence.busyMs : cadence.idleMs);
    const finalsMs = outbox.readyAtMs();
    return finalsMs === null ? routineMs : Math.min(routineMs, Math.max(soonestMs, finalsMs));
  }

  async #send(): Promise<void> {
    const { outbox, meter, tallies, deaths, clock, post, onDrain } = this.#parts;
    this.#inFlight = true;
    this.#hurried = false;
    this.#lastSentAtMs = clock.monotonicMs();
    const batch = outbox.next(meter, tallies, deaths, this.#lastSentAtMs, clock.epochMs());
    try {
      const { again, stop, drainMs } = await post(this.#report(batch));
      outbox.acknowledge(batch, again, clock.monotonicMs());
      this.sent += 1;
      this.#failures = 0;
      meter.stop(stop);
      onDrain(drainMs ?? null);
    } catch (error) {
      this.#onFailure(error);
    }
    this.#inFlight = false;
    this.#notifySettled();
    this.wake();
  }

  /** States are those of now, also in a batch that is sent again; what is counted is the batch's own. */
  #report(batch: Batch): GateReport {
    const { pool, gate, replicas, draining, clock } = this.#parts;
    return {
      version: 1,
      pool,
      gate,
      sequence: batch.sequence,
      sentAtMs: clock.epochMs(),
      draining: draining(),
      usage: [...batch.usage],
      replicas: replicas(),
      tallies: [...batch.tallies],
      ...(batch.deaths.length > 0 ? { deaths: [...batch.deaths] } : {}),
      ...(batch.cleared.length > 0 ? { cleared: [...batch.cleared] } : {}),
    };
  }

  #onFailure(error: unknown): void {
    const { clock, random, log, outbox } = this.#parts;
    this.failed += 1;
    const backoffMs = Math.min(REPORT_BACKOFF_MAX_MS, REPORT_BACKOFF_MIN_MS * 2 ** this.#failures);
    this.#failures += 1;
    // Between half and all of it, so that the gates of a region do not come back in step.
    this.#backoffUntilMs = clock.monotonicMs() + backoffMs * (0.5 + random() / 2);
    const cause = (error as { cause?: NodeJS.ErrnoException } | null)?.cause?.code;
    const reason = cause ?? (error instanceof Error ? error.message : "unknown");
    log.warn("report_failed", { reason, failures: this.#failures, backlog: outbox.backlog });
  }

  #notifySettled(): void {
    const waiting = this.#settled;
    this.#settled = [];
    for (const resolve of waiting) resolve();
  }
}

/** Posts signed reports to the edge. The newest secret signs. */
export function httpPost(edgeUrl: string, secretVersion: number, key: CryptoKey): Post {
  return async (report) => {
    const body = new TextEncoder().encode(JSON.stringify(report));
    const response = await fetch(`${edgeUrl}/gate/v1/report`, {
      method: "POST",
      redirect: "error",
      headers: {
        "content-type": "application/json",
        [GATE_SIGNATURE_HEADER]: await signReport(body, report.pool, secretVersion, key),
      },
      body,
      signal: AbortSignal.timeout(REPORT_TIMEOUT_MS),
    });
    if (!response.ok) {
      await response.body?.cancel();
      throw new Error(`the edge answered ${response.status}`);
    }
    const reply = gateReplySchema.safeParse(await response.json());
    if (!reply.success) throw new Error("the edge's reply cannot be read");
    return reply.data;
  };
}
