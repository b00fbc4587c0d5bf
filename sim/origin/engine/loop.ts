/**
 * Runs an engine against the real clock: one timer for the end of the current step, none while there is nothing
 * to do. Late timers are caught up with, so that the pace is right at any speed and timer resolution.
 */
import type { Engine, Job, Step } from "./engine.ts";

/** Told about a job's progress, always from a timer and never from inside `submit`. */
export type JobEvents = {
  started(cachedTokens: number, atMs: number): void;
  token(atMs: number): void;
};

/** Steps run at once before the event loop gets its turn. */
const STEPS_PER_TURN = 256;
/** Backlog that is caught up with; what is older was time lost, as for a real engine on a stalled machine. */
const CATCH_UP_MS = 1_000;

export class EngineLoop {
  readonly engine: Engine;
  readonly #jobs = new Map<number, JobEvents>();
  readonly #now: () => number;
  readonly #speed: number;
  readonly #observe: (engine: Engine, step: Step | undefined) => void;
  #slowdown = 1;
  #frozen = false;
  #nextId = 1;
  #step: { readonly step: Step; readonly endsAtMs: number } | undefined;
  #timer: NodeJS.Timeout | undefined;
  #waking: NodeJS.Immediate | undefined;
  #closed = false;

  /** `speed` divides every duration; `observe` is told of every step and of every job that leaves. */
  constructor(
    engine: Engine,
    speed: number,
    observe: (engine: Engine, step: Step | undefined) => void = () => {},
    now: () => number = () => performance.now(),
  ) {
    if (!(speed > 0)) throw new Error("speed must be positive");
    this.engine = engine;
    this.#speed = speed;
    this.#observe = observe;
    this.#now = now;
  }

  get isFrozen(): boolean {
    return this.#frozen;
  }

  submit(job: Omit<Job, "id">, events: JobEvents): number {
    const id = this.#nextId++;
    this.engine.add({ ...job, id });
    this.#jobs.set(id, events);
    this.#wake();
    return id;
  }

  /** Finishes or aborts a job: its slot is free at once. */
  remove(id: number): void {
    this.#jobs.delete(id);
    this.engine.remove(id);
    if (!this.#frozen) this.#observe(this.engine, undefined);
    this.#wake();
  }

  park(id: number): void {
    this.engine.park(id);
  }

  /** Stops computing, or goes on where it stopped. */
  freeze(frozen: boolean): void {
    this.#frozen = frozen;
    clearTimeout(this.#timer);
    this.#timer = undefined;
    if (frozen) return;
    if (this.#step !== undefined) this.#step = { step: this.#step.step, endsAtMs: this.#now() };
    this.#arm();
    this.#wake();
  }

  /** Multiplies the duration of the steps that start from now on. */
  slow(factor: number): void {
    this.#slowdown = factor;
  }

  close(): void {
    this.#closed = true;
    clearTimeout(this.#timer);
    this.#jobs.clear();
  }

  #wake(): void {
    if (this.#isBusy || this.#waking !== undefined) return;
    // After this turn's input, so that requests that arrive together share the first step.
    this.#waking = setImmediate(() => {
      this.#waking = undefined;
      if (this.#isBusy) return;
      this.#begin(this.#now());
      this.#arm();
    });
  }

  get #isBusy(): boolean {
    return this.#frozen || this.#step !== undefined || this.#closed;
  }

  #begin(atMs: number): void {
    const step = this.engine.step(atMs);
    this.#observe(this.engine, step);
    if (step === undefined) {
      this.#step = undefined;
      return;
    }
    const endsAtMs = atMs + ((step.endsAtMs - atMs) * this.#slowdown) / this.#speed;
    this.#step = { step, endsAtMs };
    for (const { id, cachedTokens } of step.started) this.#jobs.get(id)?.started(cachedTokens, atMs);
  }

  #arm(): void {
    if (this.#step === undefined || this.#frozen || this.#closed || this.#timer !== undefined) return;
    const delayMs = Math.max(0, Math.ceil(this.#step.endsAtMs - this.#now()));
    this.#timer = setTimeout(() => {
      this.#timer = undefined;
      this.#advance();
      this.#arm();
    }, delayMs);
  }

  #advance(): void {
    const nowMs = this.#now();
    for (let steps = 0; steps < STEPS_PER_TURN; steps++) {
      const current = this.#step;
      if (current === undefined || this.#frozen || current.endsAtMs > nowMs) return;
      for (const id of current.step.emitted) this.#jobs.get(id)?.token(current.endsAtMs);
      this.#begin(Math.max(current.endsAtMs, nowMs - CATCH_UP_MS));
    }
  }
}
