import type { IncomingMessage } from "node:http";
import { CLOCK_SKEW_MAX_MS, REQUEST_DEADLINE_MS } from "../bounds.ts";
import type { Away } from "../contract/continuation.ts";
import type { OriginOrder } from "../contract/origin-token.ts";
import type { Usage } from "../contract/report.ts";
import { readEngineError } from "../engine/failure.ts";
import { BRIDGE_INTERVAL_MS } from "./bounds.ts";
import { EdgeAnswer } from "./edge-answer.ts";
import {
  brokenOff,
  CLIENT_GONE,
  COMPLETE,
  DEADLINE,
  type Ending,
  engineEnding,
  FIRST_TOKEN_TIMEOUT,
  failed,
  leaves,
  STOPPED,
  TOKEN_GAP_TIMEOUT,
} from "./endings.ts";
import type { Setup } from "./setup.ts";
import { isRefused, readErrorText } from "./upstream.ts";
import { due, type Watch } from "./watch.ts";

/** Whatever an order says; also keeps timers in their range. */
const LIFE_MAX_MS = REQUEST_DEADLINE_MS + CLOCK_SKEW_MAX_MS;

/**
 * One answer on its way from an engine to the edge.
 *
 *   relaying ──▶ (stopping) ──▶ counting ──▶ ended
 *
 * `stopping`: the budget is used up; the engine is aborted, and what it had already made is still passed on.
 * `counting`: ended for the edge; what an aborted engine had already made is counted. `#end` is the only door.
 */
export class Exchange {
  readonly #setup: Setup;
  readonly #edge: EdgeAnswer;
  readonly #watch: Watch;
  #phase: "relaying" | "stopping" | "counting" | "ended" = "relaying";
  #ending: Ending = COMPLETE;
  #upstream: IncomingMessage | null = null;
  #stopWanted = false;
  #connectionRefused = false;
  #cut = false;
  #timer: NodeJS.Timeout | undefined;

  constructor(setup: Setup) {
    this.#setup = setup;
    const { order, clock, res, answer, errorShape } = setup;
    this.#edge = new EdgeAnswer(res, answer.contentType, errorShape);
    const nowMs = clock.monotonicMs();
    this.#watch = {
      startedAtMs: nowMs,
      deadlineAtMs: nowMs + Math.min(order.deadlineMs - clock.epochMs(), LIFE_MAX_MS),
      bridgeAtMs: nowMs + setup.answerMaxMs,
      firstTokenTimeoutMs: setup.firstTokenSeen ? order.firstTokenTimeoutMs : null,
      tokenGapTimeoutMs: order.tokenGapTimeoutMs,
      firstTokenAtMs: null,
      lastTokenAtMs: nowMs,
      slowAtMs: nowMs + setup.slowAfterMs,
      paused: false,
    };
  }

  start(): void {
    const { res, call } = this.#setup;
    res.on("close", () => this.#end(CLIENT_GONE));
    call.answer.then(
      (upstream) => this.#onAnswer(upstream),
      (error: unknown) => this.#onUpstreamError(error),
    );
    this.#look();
  }

  get order(): OriginOrder {
    return this.#setup.order;
  }

  /** Of a stream that may be cut off, no more than what the client got by then: the rest is made anew elsewhere. */
  usage(): Usage {
    const { answer, resumable } = this.#setup;
    return resumable ? answer.delivered() : answer.usage();
  }

  /** True once a token was seen or anything was sent: from then on this attempt is on the bill. */
  get begun(): boolean {
    return this.#edge.sent || this.#watch.firstTokenAtMs !== null;
  }

  get unsent(): boolean {
    return this.begun && !this.#edge.sent;
  }

  /**
   * The budget is used up. Ends the answer as if its length limit were reached, after one token at least. The
   * client still gets what the engine had made by then, so that what it sees is what it pays.
   */
  stop(): void {
    const { answer, call, abortDrainMs } = this.#setup;
    if (this.#phase !== "relaying" || !answer.stoppable || answer.complete) return;
    this.#stopWanted = true;
    if (this.#watch.firstTokenAtMs === null) return;
    this.#phase = "stopping";
    clearTimeout(this.#timer);
    call.halfClose();
    this.#timer = setTimeout(() => this.#end(STOPPED), abortDrainMs);
  }

  /** The gate leaves and cannot wait any longer. */
  giveUp(): void {
    this.#end(leaves("gate"));
  }

  get movable(): boolean {
    return this.#phase === "relaying" && this.#setup.resumable && this.#edge.sent;
  }

  move(away: Away): void {
    if (this.movable) this.#end(leaves(away));
  }

  /** The replica accepts no connections any more: what still flows may flow, but silence counts sooner. */
  replicaGone(gapMs: number): void {
    const watch = this.#watch;
    watch.tokenGapTimeoutMs = Math.min(watch.tokenGapTimeoutMs, gapMs);
    if (this.#phase === "relaying") this.#look();
  }

  #onAnswer(upstream: IncomingMessage): void {
    this.#upstream = upstream;
    if (this.#phase === "ended") {
      this.#setup.call.destroy();
      return;
    }
    upstream.on("error", (error) => this.#onUpstreamError(error));
    if (upstream.statusCode === 200) {
      upstream.on("data", (chunk: Buffer) => this.#onData(chunk));
      upstream.on("end", () => this.#engineDone(this.#setup.answer.eof()));
      return;
    }
    readErrorText(upstream, (text) => {
      const error = readEngineError(upstream.statusCode ?? 500, text);
      this.#engineDone(engineEnding(error, this.order.servedModel));
    });
  }

  #onData(chunk: Buffer): void {
    const taken = this.#setup.answer.take(chunk);
    if (this.#phase !== "relaying" && this.#phase !== "stopping") return;
    if (taken.progressed) this.#onProgress();
    if (taken.text !== "") this.#forward(taken.text);
    if (taken.broken !== null) this.#end(taken.broken);
    else if (taken.enough) this.#end(COMPLETE);
    else if (this.#stopWanted && this.#phase === "relaying") this.stop();
  }

  #onProgress(): void {
    const watch = this.#watch;
    watch.lastTokenAtMs = this.#setup.clock.monotonicMs();
    if (watch.firstTokenAtMs !== null) return;
    watch.firstTokenAtMs = watch.lastTokenAtMs;
    if (this.#setup.slowOf === "first_token") watch.slowAtMs = null;
    // One JSON still has to be bridged until its end; in a stream the tokens themselves are the sign of life.
    if (this.#setup.answer.contentType === "text/event-stream") watch.bridgeAtMs = null;
    this.#look();
  }

  #forward(text: string): void {
    if (this.#watch.firstTokenAtMs === null) {
      if (!this.#edge.hold(text)) this.#end(failed("too much before the first token"));
      return;
    }
    if (this.#edge.write(text, () => this.#onDrain())) return;
    this.#watch.paused = true;
    this.#upstream?.pause();
  }

  #onDrain(): void {
    this.#watch.paused = false;
    this.#watch.lastTokenAtMs = this.#setup.clock.monotonicMs();
    this.#upstream?.resume();
    if (this.#phase === "relaying") this.#look();
  }

  #onUpstreamError(error: unknown): void {
    this.#connectionRefused = isRefused(error);
    const code = (error as NodeJS.ErrnoException | null)?.code ?? "unknown";
    const { answer, call } = this.#setup;
    const ending = failed(`the connection failed: ${code}`);
    if (answer.complete) this.#engineDone(COMPLETE);
    // Sent once more after a kept connection had ended, and refused: it may have been the last that the engine read.
    else if (this.#connectionRefused && call.resent) this.#engineDone({ ...ending, died: true });
    else if ((code !== "ECONNRESET" && code !== "EPIPE") || this.#edge.sent) this.#engineDone(ending);
    // With nothing sent the edge would go on to the next engine, and the next: it should know who died.
    else void call.gone().then((died) => this.#engineDone({ ...ending, died }));
  }

  /** Nothing more will come from the engine. */
  #engineDone(ending: Ending): void {
    if (this.#phase === "counting") this.#finish();
    else if (this.#phase === "stopping" && ending !== COMPLETE) this.#end({ ...STOPPED, engineRuns: false });
    else this.#end(ending);
  }

  /** Asks what is due, and sleeps until then. */
  #look(): void {
    clearTimeout(this.#timer);
    const next = due(this.#watch, this.#setup.clock.monotonicMs());
    switch (next.tag) {
      case "wait":
        // A timer may fire a fraction early; the next look then waits for the rest.
        this.#timer = setTimeout(() => this.#look(), Math.max(1, Math.ceil(next.ms)));
        return;
      case "bridge":
        // A tunnel drops an answer of which it saw no byte for 120 s.
        this.#edge.bridge(this.#setup.answer.bridge);
        this.#watch.bridgeAtMs = this.#setup.clock.monotonicMs() + BRIDGE_INTERVAL_MS;
        this.#look();
        return;
      case "slow":
        // At this age and not at the end: a replica that holds on to all it has would never be found.
        this.#watch.slowAtMs = null;
        this.#setup.onSlow();
        this.#look();
        return;
      case "deadline":
        this.#end(DEADLINE);
        return;
      case "first_token_timeout":
        this.#end(FIRST_TOKEN_TIMEOUT);
        return;
      case "token_gap_timeout":
        // The engine said everything and only forgot to close.
        this.#end(this.#setup.answer.complete ? COMPLETE : TOKEN_GAP_TIMEOUT);
        return;
    }
  }

  #end(ending: Ending): void {
    if (this.#phase !== "relaying" && this.#phase !== "stopping") return;
    const aborted = this.#phase === "stopping";
    this.#phase = "counting";
    this.#ending = ending;
    clearTimeout(this.#timer);
    if (!this.#edge.gone) this.#tellEdge(ending);
    // What the engine makes after a cut nobody gets: it is not read, and so not on the bill.
    if (this.#cut || !ending.engineRuns || (aborted && ending === STOPPED)) {
      this.#finish();
      return;
    }
    if (!aborted) this.#setup.call.halfClose();
    this.#upstream?.resume();
    this.#timer = setTimeout(() => this.#finish(), this.#setup.abortDrainMs);
  }

  #tellEdge(ending: Ending): void {
    const fails = ending.failure !== null;
    this.#cut = fails && this.#setup.resumable && ending.retryable && this.#edge.sent;
    if (this.#cut) {
      this.#edge.cut(this.#setup.answer.lastWords(ending.away ?? null));
      return;
    }
    const text = fails && !this.#edge.sent ? null : this.#closing(ending);
    if (text === null) this.#edge.break(ending);
    else this.#edge.end(text);
  }

  /** Null where the answer cannot be ended properly, also when its last text cannot be made. */
  #closing(ending: Ending): string | null {
    try {
      const midway = this.#watch.firstTokenAtMs !== null;
      return this.#setup.answer.closing(midway ? brokenOff(ending) : ending);
    } catch {
      return null;
    }
  }

  #finish(): void {
    if (this.#phase === "ended") return;
    this.#phase = "ended";
    clearTimeout(this.#timer);
    const { call, clock, onEnded } = this.#setup;
    const { firstTokenAtMs, startedAtMs } = this.#watch;
    if (!this.#upstream?.complete) call.destroy();
    onEnded({
      ending: this.#ending,
      sent: this.#edge.sent,
      cut: this.#cut,
      firstTokenMs: firstTokenAtMs === null ? null : firstTokenAtMs - startedAtMs,
      durationMs: clock.monotonicMs() - startedAtMs,
      engineReached: call.reached,
      connectionRefused: this.#connectionRefused,
      gone: () => call.gone(),
    });
  }
}
