/** Carries one plan out: its jobs in the engine, the ledger, and the way everything ends. */
import type { IncomingMessage, ServerResponse } from "node:http";
import { BlockHasher } from "../engine/hash.ts";
import { type Delta, Sequence } from "../engine/sequence.ts";
import type { AnswerFaults } from "../faults.ts";
import { type LedgerEntry, noteTokens } from "../ledger.ts";
import type { RequestMeter } from "../metrics.ts";
import type { Site } from "../site.ts";
import { ClientSocket } from "./client-socket.ts";
import { JsonSink } from "./json-sink.ts";
import type { Plan, Writer } from "./plan.ts";
import { StreamSink } from "./stream-sink.ts";

/** Where an answer's deltas go. */
export type Sink = {
  start(): void;
  accept(delta: Delta): void;
  /** Ends the answer as an engine failure or a broken connection would. */
  fail(how: "engineError" | "cut"): void;
};

/** What a sink may do to its answer. */
export type AnswerControl = {
  readonly plan: Plan;
  readonly entry: LedgerEntry;
  readonly faults: AnswerFaults;
  readonly writer: Writer;
  readonly socket: ClientSocket;
  readonly keepAliveIntervalS: number;
  readonly cachedTokens: () => number;
  /** Every choice has said its last token. */
  readonly isGenerated: () => boolean;
  /** The outcome is decided: frees the engine and stops watching the client. */
  readonly close: (state: "finished" | "failed") => void;
  /** Keeps the slots but computes nothing more. */
  readonly park: () => void;
  readonly die: () => void;
};

type Run = {
  readonly sequence: Sequence;
  readonly hasher: BlockHasher;
  /** Further choices of a prompt hit the blocks of the first one, which says nothing about the cache before. */
  readonly isFirstOfPrompt: boolean;
  jobId: number;
  started: boolean;
  finished: boolean;
};

export class Answer {
  readonly #site: Site;
  readonly #plan: Plan;
  readonly #entry: LedgerEntry;
  readonly #faults: AnswerFaults;
  readonly #meter: RequestMeter;
  readonly #socket: ClientSocket;
  readonly #sink: Sink;
  readonly #runs: readonly Run[];
  /** Of the first prompt, which is all that vLLM reports. */
  #cachedTokens = 0;
  #over = false;

  constructor(
    site: Site,
    plan: Plan,
    entry: LedgerEntry,
    faults: AnswerFaults,
    req: IncomingMessage,
    res: ServerResponse,
  ) {
    this.#site = site;
    this.#plan = plan;
    this.#entry = entry;
    this.#faults = faults;
    // Whatever may throw comes before the socket is watched.
    const writer = plan.writer(faults.noUsage);
    this.#runs = plan.choices.map((choice, i) => ({
      sequence: new Sequence(choice.index, choice.speaker(), choice.sampling),
      hasher: new BlockHasher(site.options.engine.blockTokens, plan.cacheSalt),
      isFirstOfPrompt: plan.choices[i - 1]?.promptIds !== choice.promptIds,
      jobId: 0,
      started: false,
      finished: false,
    }));
    this.#meter = site.metrics.open(plan);
    this.#socket = new ClientSocket(req, res, () => this.#close("aborted"));
    const control: AnswerControl = {
      plan,
      entry,
      faults,
      writer,
      socket: this.#socket,
      keepAliveIntervalS: plan.keepAlive ? site.options.sseKeepAliveIntervalS : 0,
      cachedTokens: () => this.#cachedTokens,
      isGenerated: () => this.#runs.every((run) => run.finished),
      close: (state) => this.#close(state),
      park: () => {
        for (const run of this.#runs) site.loop.park(run.jobId);
      },
      die: () => site.die(),
    };
    this.#sink = plan.stream ? new StreamSink(control) : new JsonSink(control);
  }

  /** Queues the work; a stream's headers go out at once, also where it has to wait. */
  start(): void {
    const { promptTokens, stream, cacheSalt } = this.#plan;
    Object.assign(this.#entry, { status: 200, promptTokens, stream, tenantSalt: cacheSalt !== undefined });
    noteTokens(this.#entry, promptTokens, cacheSalt);
    this.#site.answers.add(this);
    if (this.#faults.slow !== undefined) this.#site.loop.slow(this.#faults.slow.factor!);
    this.#sink.start();
    this.#runs.forEach((run, index) => {
      if (this.#over) return;
      const { promptIds } = this.#plan.choices[index]!;
      const blockNames = run.hasher.pushAll(promptIds);
      const job = { promptTokens: promptIds.length, blockNames, priority: this.#plan.priority };
      run.jobId = this.#site.loop.submit(job, {
        started: (cachedTokens, atMs) => this.#started(run, cachedTokens, atMs),
        token: (atMs) => this.#token(run, atMs),
      });
    });
  }

  /** Ends the answer because the replica goes down: in-band, as vLLM does, or by a cut. */
  fail(how: "engineError" | "cut"): void {
    if (!this.#over) this.#sink.fail(how);
  }

  #started(run: Run, cachedTokens: number, atMs: number): void {
    // Not once more after a preemption: what it finds then is its own.
    if (run.started) return;
    run.started = true;
    this.#entry.state = "running";
    if (!run.isFirstOfPrompt) return;
    this.#meter.started(cachedTokens, atMs);
    this.#entry.cachedTokens += cachedTokens;
    if (run === this.#runs[0]) this.#cachedTokens = cachedTokens;
  }

  #token(run: Run, atMs: number): void {
    if (this.#over) return;
    const delta = run.sequence.advance();
    this.#meter.token(atMs);
    this.#entry.generatedTokens++;
    const name = run.hasher.push(delta.tokenIds[0]!);
    if (name !== undefined) this.#site.loop.engine.nameBlock(run.jobId, name);
    if (delta.finish !== undefined) {
      run.finished = true;
      this.#site.loop.remove(run.jobId);
      if (delta.index === 0) this.#entry.finishReason = delta.finish.reason;
    }
    this.#sink.accept(delta);
  }

  #close(state: "finished" | "aborted" | "failed"): void {
    if (this.#over) return;
    this.#over = true;
    this.#entry.state = state;
    this.#entry.aborted = state === "aborted";
    for (const run of this.#runs) this.#site.loop.remove(run.jobId);
    if (this.#faults.slow !== undefined) this.#site.loop.slow(1);
    this.#socket.settle();
    this.#meter.closed(state, this.#entry);
    this.#site.answers.delete(this);
  }
}
