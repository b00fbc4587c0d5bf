import type { Events } from "../world/events.ts";
import { KvCache, usableTokens } from "./kv-cache.ts";

/**
 * One vLLM replica in virtual time: a loop of steps, each of which decodes one token of every sequence and computes
 * prompts with what is left of the step's tokens, first come, first served:
 *
 *   T_step = 8 ms + 0.1 ms · prompt tokens computed + 0.1 ms · sequences decoding
 *
 * It differs from the engine behind `npm start` (sim/origin/engine) in what it skips: steps that only decode are taken
 * in one stride up to the next end or arrival, so an hour of eight replicas takes a fraction of a second; room for an
 * answer is taken with its prompt, so nothing is preempted.
 */
export interface EngineSpec {
  readonly stepBaseMs: number;
  readonly msPerPrefillToken: number;
  readonly msPerDecode: number;
  readonly stepTokensMax: number;
  readonly sequencesMax: number;
  readonly gpuTokens: number;
  readonly hostTokens: number;
}

/** The GPU's memory alone, and with a host tier four times as large. */
export const ENGINES: Readonly<Record<"h" | "gpu", EngineSpec>> = (() => {
  const gpu = {
    stepBaseMs: 8,
    msPerPrefillToken: 0.1,
    msPerDecode: 0.1,
    stepTokensMax: 8_192,
    sequencesMax: 256,
    gpuTokens: 400_000,
    hostTokens: 0,
  };
  return { gpu, h: { ...gpu, hostTokens: 1_600_000 } };
})();

export interface Job {
  readonly promptTokens: number;
  readonly outputTokens: number;
  /** Memory that it needs beside its blocks: for its answer, and for what of its prompt is in none of them. */
  readonly roomTokens: number;
  readonly blocks: readonly number[];
  /** Told when it leaves the waiting line. */
  admitted?(cachedTokens: number): void;
  firstToken(): void;
  ended(): void;
}

interface Sequence {
  readonly job: Job;
  computedTokens: number;
  admitted: boolean;
  /** The step after which its last token is there; 0 while its prompt is being computed. */
  endStep: number;
  gone: boolean;
}

export class StepEngine {
  readonly #spec: EngineSpec;
  readonly #events: Events;
  readonly #cache: KvCache;
  readonly #sequences = new Map<Job, Sequence>();
  #waiting: Sequence[] = [];
  #waitingFrom = 0;
  #prefilling: Sequence[] = [];
  readonly #decoding: Sequence[] = [];
  #stepCount = 0;
  #stride: { readonly fromMs: number; readonly stepMs: number; steps: number } | null = null;
  /** Only the newest planned event counts. */
  #plan = 0;
  #slowdown = 1;
  #frozen = false;
  readonly totals = { promptTokens: 0, cachedTokens: 0, outputTokens: 0 };

  constructor(spec: EngineSpec, sizes: Int32Array, events: Events) {
    this.#spec = spec;
    this.#events = events;
    this.#cache = new KvCache(sizes, spec.gpuTokens, spec.hostTokens);
  }

  get running(): number {
    return this.#prefilling.length + this.#decoding.length;
  }
  get waiting(): number {
    return this.#waiting.length - this.#waitingFrom;
  }
  /** 0 … 1, of the GPU's part, by sequences that run. */
  get cacheUsage(): number {
    return this.#cache.pinnedTokens / this.#cache.gpuTokens;
  }

  submit(job: Job): void {
    if (job.promptTokens + job.outputTokens > this.#spec.gpuTokens)
      throw new Error("a job larger than the GPU");
    const sequence = { job, computedTokens: 0, admitted: false, endStep: 0, gone: false };
    this.#sequences.set(job, sequence);
    this.#waiting.push(sequence);
    this.#wake();
  }

  /** Tokens that it has generated so far. */
  progress(job: Job): number {
    const sequence = this.#sequences.get(job);
    if (sequence === undefined || sequence.endStep === 0) return 0;
    const stride = this.#stride;
    const ranMs = stride === null ? 0 : this.#events.nowMs - stride.fromMs;
    const steps = this.#stepCount + (stride === null ? 0 : Math.floor(ranMs / stride.stepMs));
    return Math.max(1, Math.min(job.outputTokens, job.outputTokens - (sequence.endStep - steps)));
  }

  /** Its blocks stay in the cache; what a running step has begun is done in vain. */
  abort(job: Job): void {
    const sequence = this.#sequences.get(job);
    if (sequence === undefined) return;
    this.#sequences.delete(job);
    sequence.gone = true;
    if (!sequence.admitted) this.#waiting = this.#waiting.slice(this.#waitingFrom).filter(isHere);
    if (!sequence.admitted) this.#waitingFrom = 0;
    else this.#cache.unpin(job.blocks, job.roomTokens);
    this.#prefilling = this.#prefilling.filter(isHere);
    const at = this.#decoding.indexOf(sequence);
    if (at >= 0) this.#decoding.splice(at, 1);
    this.#wake();
  }

  /** Everything that it held is gone, its cache included. */
  restart(): void {
    this.#plan += 1;
    this.#stride = null;
    this.#sequences.clear();
    this.#waiting = [];
    this.#waitingFrom = 0;
    this.#prefilling = [];
    this.#decoding.length = 0;
    this.#cache.clear();
  }

  /** Multiplies the duration of the steps that begin from now on. */
  slow(factor: number): void {
    this.#slowdown = factor;
    this.#wake();
  }

  /** Stops computing, or goes on. */
  freeze(frozen: boolean): void {
    this.#frozen = frozen;
    this.#plan += 1;
    this.#stride = null;
    if (!frozen) this.#wake();
  }

  /** Something changed: the present stride ends with its present step, or a step begins. */
  #wake(): void {
    if (this.#frozen) return;
    const stride = this.#stride;
    if (stride === null) {
      // After everything else that happens at this instant, so that a burst shares its first step.
      const plan = ++this.#plan;
      this.#events.after(0, () => plan === this.#plan && this.#begin());
      return;
    }
    const { nowMs } = this.#events;
    const steps = Math.max(1, Math.ceil((nowMs - stride.fromMs) / stride.stepMs - 1e-9));
    if (steps >= stride.steps) return;
    stride.steps = steps;
    this.#end(stride.fromMs + steps * stride.stepMs - nowMs);
  }

  #begin(): void {
    if (this.#frozen) return;
    let budget = this.#spec.stepTokensMax - this.#decoding.length;
    let prefillTokens = 0;
    const compute = (sequence: Sequence) => {
      const tokens = Math.min(budget, sequence.job.promptTokens - sequence.computedTokens);
      this.#cache.computed(sequence.job.blocks, sequence.computedTokens, sequence.computedTokens + tokens);
      sequence.computedTokens += tokens;
      budget -= tokens;
      prefillTokens += tokens;
    };
    for (const sequence of this.#prefilling) if (budget > 0) compute(sequence);
    while (budget > 0 && this.waiting > 0 && this.running < this.#spec.sequencesMax) {
      const sequence = this.#waiting[this.#waitingFrom]!;
      if (!this.#admit(sequence)) break;
      compute(sequence);
    }
    const decodes = this.#decoding.length;
    if (prefillTokens + decodes === 0) return;
    const { stepBaseMs, msPerPrefillToken, msPerDecode } = this.#spec;
    const work = stepBaseMs + msPerPrefillToken * prefillTokens + msPerDecode * decodes;
    const steps = prefillTokens > 0 ? 1 : this.#stepsToNextEnd();
    const stepMs = work * this.#slowdown;
    this.#stride = { fromMs: this.#events.nowMs, stepMs, steps };
    this.#end(steps * stepMs);
  }

  #admit(sequence: Sequence): boolean {
    const { job } = sequence;
    const cachedTokens = usableTokens(this.#cache.cachedTokens(job.blocks), job.promptTokens);
    if (!this.#cache.pin(job.blocks, job.roomTokens)) return false;
    this.#waitingFrom += 1;
    if (this.#waitingFrom > 1_000) {
      this.#waiting = this.#waiting.slice(this.#waitingFrom);
      this.#waitingFrom = 0;
    }
    sequence.admitted = true;
    sequence.computedTokens = cachedTokens;
    this.#prefilling.push(sequence);
    this.totals.promptTokens += job.promptTokens;
    this.totals.cachedTokens += cachedTokens;
    job.admitted?.(cachedTokens);
    return true;
  }

  #stepsToNextEnd(): number {
    let endStep = Infinity;
    for (const sequence of this.#decoding) endStep = Math.min(endStep, sequence.endStep);
    return Math.max(1, endStep - this.#stepCount);
  }

  #end(inMs: number): void {
    const plan = ++this.#plan;
    this.#events.after(inMs, () => {
      if (plan !== this.#plan) return;
      this.#finish(this.#stride!.steps);
      this.#begin();
    });
  }

  #finish(steps: number): void {
    this.#stride = null;
    this.#stepCount += steps;
    const ended: Sequence[] = [];
    for (let at = this.#decoding.length - 1; at >= 0; at -= 1) {
      if (this.#decoding[at]!.endStep <= this.#stepCount) ended.push(...this.#decoding.splice(at, 1));
    }
    const started = this.#prefilling.filter(isComputed);
    if (started.length > 0) this.#prefilling = this.#prefilling.filter((sequence) => !isComputed(sequence));
    for (const sequence of started) {
      sequence.endStep = this.#stepCount + sequence.job.outputTokens - 1;
      if (sequence.job.outputTokens > 1) this.#decoding.push(sequence);
      else ended.push(sequence);
    }
    for (const sequence of ended) {
      this.#sequences.delete(sequence.job);
      this.#cache.unpin(sequence.job.blocks, sequence.job.roomTokens);
      this.totals.outputTokens += sequence.job.outputTokens;
    }
    for (const { job, gone } of started) if (!gone) job.firstToken();
    for (const { job, gone } of ended) if (!gone) job.ended();
  }
}

function isHere(sequence: Sequence): boolean {
  return !sequence.gone;
}

function isComputed({ computedTokens, job }: Sequence): boolean {
  return computedTokens >= job.promptTokens;
}
