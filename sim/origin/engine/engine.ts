/**
 * The engine model: vLLM's scheduler and a cost per step, without clock, timer or socket. The caller says what
 * time it is, and delivers a step's tokens when the step ends.
 *
 *   T_step = base + perPrefillToken · (uncached prompt tokens computed) + perDecode · (sequences decoding)
 */
import { BlockCache } from "./cache.ts";

export type EngineSpec = {
  readonly stepBaseMs: number;
  readonly msPerPrefillToken: number;
  readonly msPerDecode: number;
  /** Tokens computed in one step at most; longer prompts are prefilled in chunks. */
  readonly maxStepTokens: number;
  readonly maxSequences: number;
  readonly blockTokens: number;
  readonly cacheBlocks: number;
};

export const DEFAULT_SPEC: EngineSpec = {
  stepBaseMs: 8,
  msPerPrefillToken: 0.1,
  msPerDecode: 0.1,
  maxStepTokens: 8192,
  maxSequences: 64,
  blockTokens: 16,
  cacheBlocks: 25_000,
};

/** One sequence to generate. A request with `n` = 3 is three jobs. */
export type Job = {
  readonly id: number;
  readonly promptTokens: number;
  /** Names of the prompt's full blocks (see `BlockHasher`). */
  readonly blockNames: readonly number[];
  /** Lower runs earlier, as in vLLM. */
  readonly priority?: number;
};

/** What one step does. All of it is known when the step starts; tokens exist when it ends. */
export type Step = {
  readonly endsAtMs: number;
  readonly prefillTokens: number;
  /** Jobs that have one more token at the end of the step, in scheduling order. */
  readonly emitted: readonly number[];
  /** Jobs that left the waiting queue, with the prompt tokens found in the cache. */
  readonly started: readonly { readonly id: number; readonly cachedTokens: number }[];
};

type Sequence = {
  readonly id: number;
  readonly priority: number;
  /** Prompt and answer so far. */
  tokens: number;
  /** Of these, those whose keys and values are in the cache. */
  computed: number;
  emitted: number;
  /** Names of all full blocks of `tokens`; the first `heldNames` are in use. */
  readonly names: number[];
  heldNames: number;
  heldUnnamed: number;
  parked: boolean;
};

export class Engine {
  readonly spec: EngineSpec;
  readonly totals = { prefixQueries: 0, prefixHits: 0, preemptions: 0, steps: 0 };
  #cache: BlockCache;
  readonly #waiting: Sequence[] = [];
  #running: Sequence[] = [];
  readonly #byId = new Map<number, Sequence>();

  constructor(spec: EngineSpec) {
    this.spec = spec;
    this.#cache = new BlockCache(spec.cacheBlocks);
  }

  get running(): number {
    return this.#running.length;
  }
  get waiting(): number {
    return this.#waiting.length;
  }
  /** 0..1, blocks in use by sequences. */
  get cacheUsage(): number {
    return this.#cache.usedBlocks / this.#cache.totalBlocks;
  }

  /** Queues a job behind those of its priority. */
  add(job: Job): void {
    if (this.#byId.has(job.id)) throw new Error(`job ${job.id} exists already`);
    if (!(job.promptTokens > 0)) throw new Error("a prompt needs at least one token");
    if (Math.ceil((job.promptTokens + 1) / this.spec.blockTokens) > this.spec.cacheBlocks) {
      throw new Error(`a prompt of ${job.promptTokens} tokens cannot fit into the cache`);
    }
    const sequence: Sequence = {
      id: job.id,
      priority: job.priority ?? 0,
      tokens: job.promptTokens,
      computed: 0,
      emitted: 0,
      names: [...job.blockNames],
      heldNames: 0,
      heldUnnamed: 0,
      parked: false,
    };
    this.#byId.set(job.id, sequence);
    const behind = this.#waiting.findIndex((other) => other.priority > sequence.priority);
    this.#waiting.splice(behind < 0 ? this.#waiting.length : behind, 0, sequence);
  }

  /** Takes a job out: finished or aborted. Its blocks stay in the cache until evicted. Unknown ids are ignored. */
  remove(id: number): void {
    const sequence = this.#byId.get(id);
    if (sequence === undefined) return;
    this.#byId.delete(id);
    this.#release(sequence);
    this.#running = this.#running.filter((other) => other !== sequence);
    const at = this.#waiting.indexOf(sequence);
    if (at >= 0) this.#waiting.splice(at, 1);
  }

  /** Keeps a job's slot and memory but computes nothing for it, as when a worker hangs on one request. */
  park(id: number): void {
    const sequence = this.#byId.get(id);
    if (sequence !== undefined) sequence.parked = true;
  }

  /** Names the block that the job's last token fills; it can be shared once that token has been computed. */
  nameBlock(id: number, name: number): void {
    this.#byId.get(id)?.names.push(name);
  }

  /** Starts the next step at `nowMs`; undefined when there is nothing to compute. */
  step(nowMs: number): Step | undefined {
    let budget = this.spec.maxStepTokens;
    let prefillTokens = 0;
    let decodes = 0;
    const emitted: number[] = [];
    const compute = (sequence: Sequence): void => {
      const need = sequence.tokens - sequence.computed;
      const tokens = Math.min(need, budget);
      budget -= tokens;
      if (need === 1 && sequence.emitted > 0) decodes++;
      else prefillTokens += tokens;
      sequence.computed += tokens;
      if (sequence.computed < sequence.tokens) return;
      sequence.tokens++;
      sequence.emitted++;
      emitted.push(sequence.id);
    };

    // By index: growing one sequence may preempt others, always from the end.
    for (let i = 0; i < this.#running.length && budget > 0; i++) {
      const sequence = this.#running[i]!;
      if (!sequence.parked && this.#grow(sequence)) compute(sequence);
    }
    const started: { id: number; cachedTokens: number }[] = [];
    while (budget > 0 && this.#running.length < this.spec.maxSequences) {
      const sequence = this.#waiting[0];
      if (sequence === undefined || !this.#admit(sequence)) break;
      this.#waiting.shift();
      this.#running.push(sequence);
      started.push({ id: sequence.id, cachedTokens: sequence.computed });
      if (!sequence.parked) compute(sequence);
    }
    if (prefillTokens + decodes === 0) return undefined;
    this.totals.steps++;
    const { stepBaseMs, msPerPrefillToken, msPerDecode } = this.spec;
    const durationMs = stepBaseMs + msPerPrefillToken * prefillTokens + msPerDecode * decodes;
    return { endsAtMs: nowMs + durationMs, prefillTokens, emitted, started };
  }

  /** Makes room for a running sequence's next token, by preempting the youngest where memory is short. */
  #grow(sequence: Sequence): boolean {
    const blocks = Math.ceil(sequence.tokens / this.spec.blockTokens);
    while (sequence.heldNames + sequence.heldUnnamed < blocks) {
      if (this.#cache.takeUnnamed()) {
        sequence.heldUnnamed++;
        continue;
      }
      const victim = this.#running.at(-1)!;
      this.#preempt(victim);
      if (victim === sequence) return false;
    }
    this.#nameFullBlocks(sequence);
    return true;
  }

  #nameFullBlocks(sequence: Sequence): void {
    while (sequence.heldNames < sequence.names.length) {
      this.#cache.name(sequence.names[sequence.heldNames]!);
      sequence.heldNames++;
      sequence.heldUnnamed--;
    }
  }

  #preempt(victim: Sequence): void {
    this.#release(victim);
    victim.computed = 0;
    this.#running.pop();
    this.#waiting.unshift(victim);
    this.totals.preemptions++;
  }

  /** Takes blocks for the whole prompt and skips what the cache holds, except for the last token. */
  #admit(sequence: Sequence): boolean {
    const { blockTokens } = this.spec;
    const usable = sequence.names.slice(0, Math.floor((sequence.tokens - 1) / blockTokens));
    const hits = this.#cache.match(usable);
    const blocks = Math.ceil(sequence.tokens / blockTokens);
    const shared = sequence.names.filter((name) => this.#cache.inUse(name)).length;
    if (this.#cache.freeBlocks < blocks - shared) return false;
    for (const name of sequence.names) this.#cache.take(name);
    sequence.heldNames = sequence.names.length;
    while (sequence.heldNames + sequence.heldUnnamed < blocks) {
      if (!this.#cache.takeUnnamed()) throw new Error("room was counted but is not there");
      sequence.heldUnnamed++;
    }
    this.totals.prefixQueries += sequence.tokens;
    this.totals.prefixHits += hits * blockTokens;
    sequence.computed = hits * blockTokens;
    return true;
  }

  #release(sequence: Sequence): void {
    this.#cache.release(sequence.names.slice(0, sequence.heldNames), sequence.heldUnnamed);
    sequence.heldNames = 0;
    sequence.heldUnnamed = 0;
  }
}
