import type { BlockClaim, BudgetReport } from "../../src/limits/messages.ts";
import { KEY_ID } from "./tenant.ts";

/** One attempt of an admitted request at an engine. */
export interface Run {
  readonly id: string;
  /** A later one carries on where an engine died, and reports no prompt. */
  readonly attempt: number;
  /** The block that it was admitted from. */
  readonly claim: BlockClaim | null;
  /** The object that holds its reservation. */
  readonly at: number;
  readonly promptTokens: number;
  readonly outputTokens: number;
  readonly tokensPerSecond: number;
  /** Made as one JSON that nobody has before its end. */
  readonly unsent: boolean;
  readonly finishEagerly: boolean;
  generatedTokens: number;
  state: "runs" | "broken" | "over" | "reported";
  /** Seconds until its last word is sent again. */
  retryIn: number;
  retries: number;
}

/** What a gate needs of the world. */
export interface GateWorld {
  after(delayMs: number, run: () => void): void;
  generated(run: Run, tokens: number): void;
  report(region: number, at: number, reports: readonly BudgetReport[], reply: (stop: string[]) => void): void;
  finish(region: number, at: number, run: Run): void;
  /** Whether a stream's engine dies in this second; then somebody else may carry it on. */
  breaks(): boolean;
  carryOn(region: number, run: Run): void;
}

const TICK_MS = 1_000;
const RETRIES_MAX = 12;

/** The gate of one region: runs requests at their pace and reports once a second, all in one message per object. */
export class SimGate {
  readonly #region: number;
  readonly #world: GateWorld;
  readonly #runs = new Map<string, Run>();
  #ticking = false;

  constructor(region: number, world: GateWorld) {
    this.#region = region;
    this.#world = world;
  }

  get running(): Iterable<Run> {
    return this.#runs.values();
  }

  start(run: Run): void {
    if (run.state !== "runs" || this.#runs.has(nameOf(run))) return;
    this.#runs.set(nameOf(run), run);
    this.#world.generated(run, run.promptTokens);
    if (this.#ticking) return;
    this.#ticking = true;
    this.#world.after(TICK_MS, () => this.#tick());
  }

  /** All clients leave: what is made is paid for, nothing more is. */
  leave(): void {
    for (const run of this.#runs.values()) if (run.state === "runs") this.#end(run);
  }

  /** Nobody waits for this attempt any more; one that has not come yet is not begun. */
  giveUp(run: Run): void {
    if (run.state !== "runs") return;
    if (this.#runs.has(nameOf(run))) this.#end(run);
    else if (run.generatedTokens === 0) run.state = "over";
  }

  /** The process dies: nothing runs on, nothing is told. */
  die(): void {
    for (const run of this.#runs.values()) run.state = "reported";
    this.#runs.clear();
  }

  #tick(): void {
    const batches = new Map<number, Run[]>();
    for (const run of this.#runs.values()) {
      if (run.state === "runs") this.#generate(run);
      else if (--run.retryIn > 0) continue;
      else run.retryIn = 2 ** Math.min(6, ++run.retries);
      if (run.retries > RETRIES_MAX) this.#runs.delete(nameOf(run));
      else batches.set(run.at, [...(batches.get(run.at) ?? []), run]);
    }
    for (const [at, runs] of batches) {
      const finals = runs.filter(({ state }) => state !== "runs");
      const reports = runs.map(reportOf);
      this.#world.report(this.#region, at, reports, (stop) => this.#answered(finals, stop));
    }
    this.#ticking = this.#runs.size > 0;
    if (this.#ticking) this.#world.after(TICK_MS, () => this.#tick());
  }

  #generate(run: Run): void {
    const left = run.promptTokens + run.outputTokens - run.generatedTokens;
    this.#world.generated(run, Math.min(left, run.tokensPerSecond));
    if (left <= run.tokensPerSecond) {
      this.#end(run);
      // What nobody got of one JSON is made anew from its prompt on, and is no part of this model.
    } else if (!run.unsent && this.#world.breaks()) {
      run.state = "broken";
      this.#world.carryOn(this.#region, run);
    }
  }

  #end(run: Run): void {
    run.state = "over";
    if (run.finishEagerly) this.#world.finish(this.#region, run.at, run);
  }

  #answered(finals: readonly Run[], stop: readonly string[]): void {
    for (const run of finals) {
      run.state = "reported";
      this.#runs.delete(nameOf(run));
    }
    for (const run of this.#runs.values()) {
      if (run.state === "runs" && stop.includes(run.id)) this.#end(run);
    }
  }
}

/** A stream may be carried on at the gate whose engine broke it off. */
function nameOf({ attempt, id }: Run): string {
  return `${id}/${attempt}`;
}

function reportOf(run: Run): BudgetReport {
  const outputTokens = run.generatedTokens - run.promptTokens;
  return {
    requestId: run.id,
    keyId: KEY_ID,
    model: "m",
    attempt: run.attempt,
    usage: { promptTokens: run.promptTokens, cachedTokens: 0, outputTokens },
    final: run.state === "over",
    tokensPerSecond: run.tokensPerSecond,
    unsent: run.unsent && run.state === "runs",
    ...(run.claim === null ? {} : { block: run.claim }),
  };
}
