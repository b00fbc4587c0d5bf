import type { BreakerSettings } from "../../catalogue.ts";
import type { Cause, Overload } from "../messages.ts";
import { Latch } from "./latch.ts";
import { secondOf, Window } from "./window.ts";

/** How a replica is, as gates see it. */
export interface ReplicaSigns {
  /** Requests that wait inside the engine. */
  readonly waiting: number;
  /** 0 … 1 */
  readonly kvCacheUsage: number;
  /** 0 … 1; null where no exporter tells. */
  readonly gpuMemoryUsage: number | null;
}

interface Sample {
  readonly ok: number;
  readonly failed: number;
  readonly slow: number;
}

/** What was counted and read of one target, and what the triggers make of it. */
export class Readings {
  readonly #window = new Window();
  readonly #memory = new Latch();
  readonly #queue = new Latch();
  #failedInARow = 0;
  #slowInARow = 0;
  #judged: { second: number; settings: BreakerSettings; cause: Cause | null } | null = null;
  /** When gates last spoke of it, in whatever way. */
  heardAtMs = -Infinity;
  /** When they last told its signs. */
  signsAtMs = -Infinity;
  signs: ReplicaSigns | null = null;

  observe(sample: Sample | null, signs: ReplicaSigns | null, settings: BreakerSettings, nowMs: number): void {
    this.heardAtMs = nowMs;
    if (sample !== null && sample.ok + sample.failed + sample.slow > 0) this.#count(sample, nowMs);
    if (signs === null) return;
    this.signs = signs;
    this.signsAtMs = nowMs;
    const used = signs.gpuMemoryUsage ?? signs.kvCacheUsage;
    if (settings.memory !== null) this.#memory.read(used, settings.memory, nowMs);
    if (settings.queue !== null) this.#queue.read(signs.waiting, settings.queue, nowMs);
  }

  /** Asked with every request, and only a count or another second can change the answer. */
  trip(settings: BreakerSettings, nowMs: number): Cause | null {
    const second = secondOf(nowMs);
    if (this.#judged === null || this.#judged.second !== second || this.#judged.settings !== settings) {
      const cause = this.#errorTrip(settings.errorRate, nowMs) ?? this.#slowTrip(settings.slow, nowMs);
      this.#judged = { second, settings, cause };
    }
    return this.#judged.cause;
  }

  overload({ memory, queue }: BreakerSettings, nowMs: number): Overload | null {
    if (memory !== null && this.#memory.isSet(memory, nowMs)) return "memory";
    if (queue !== null && this.#queue.isSet(queue, nowMs)) return "queue";
    return null;
  }

  forgetCounts(): void {
    this.#judged = null;
    this.#window.clear();
    this.#failedInARow = 0;
    this.#slowInARow = 0;
  }

  forgetAll(): void {
    this.forgetCounts();
    this.#memory.reset();
    this.#queue.reset();
  }

  /** Of one batch nobody knows the order: where anything was answered, nothing is in a row. */
  #count({ ok, failed, slow }: Sample, nowMs: number): void {
    this.#judged = null;
    this.#window.add({ ok, failed, slow }, nowMs);
    this.#failedInARow = ok > 0 ? 0 : this.#failedInARow + failed;
    this.#slowInARow = ok > 0 ? 0 : this.#slowInARow + slow;
  }

  #errorTrip(settings: BreakerSettings["errorRate"], nowMs: number): Cause | null {
    if (settings === null) return null;
    const { ok, failed } = this.#window.sum(settings.windowSeconds, nowMs);
    const samples = ok + failed;
    if (samples >= settings.samplesMin) return failed > settings.above * samples ? "error_rate" : null;
    return this.#failedInARow >= settings.inARow ? "failures_in_a_row" : null;
  }

  /** Slow requests that have not ended yet are not among the samples: there are at least as many. */
  #slowTrip(settings: BreakerSettings["slow"], nowMs: number): Cause | null {
    if (settings === null) return null;
    const { ok, failed, slow } = this.#window.sum(settings.windowSeconds, nowMs);
    const samples = Math.max(ok + failed, slow);
    if (samples < settings.samplesMin) return this.#slowInARow >= settings.inARow ? "slow" : null;
    return slow >= settings.slowMin && slow > settings.above * samples ? "slow" : null;
  }
}
