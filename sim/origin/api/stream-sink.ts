/** Writes an answer as a stream of events. */
import { type Delta, joinDeltas } from "../engine/sequence.ts";
import { type Strike, strikeAt } from "../faults.ts";
import { noteTokens } from "../ledger.ts";
import type { AnswerControl, Sink } from "./answer.ts";
import { engineDead } from "./errors.ts";
import type { Writer } from "./plan.ts";

export class StreamSink implements Sink {
  readonly #control: AnswerControl;
  readonly #writer: Writer;
  /** What each choice has said but not sent: stream interval, or a reader slower than the model. */
  readonly #unsent: (Delta | undefined)[];
  /** Choices that have sent their first token. */
  readonly #spoken = new Set<number>();
  /** Tokens whose delta made no event of its own; the next event's usage includes them. */
  #tokensWithoutEvent = 0;
  #begun = false;
  #garbageSent = false;
  /** Closed, stalled or cut: nothing more is sent. */
  #silent = false;

  constructor(control: AnswerControl) {
    this.#control = control;
    this.#writer = control.writer;
    this.#unsent = control.plan.choices.map(() => undefined);
  }

  start(): void {
    const { socket, keepAliveIntervalS } = this.#control;
    socket.openStream(keepAliveIntervalS);
    socket.onDrain(() => this.#flush());
    for (const event of this.#writer.prelude?.() ?? []) this.#send(event);
  }

  accept(delta: Delta): void {
    const before = this.#unsent[delta.index];
    const joined = before === undefined ? delta : joinDeltas(before, delta);
    this.#unsent[delta.index] = joined;
    const { plan, socket } = this.#control;
    const due =
      joined.finish !== undefined ||
      !this.#spoken.has(delta.index) ||
      joined.tokenIds.length >= plan.streamInterval;
    if (!due || socket.isFull) return;
    this.#sendDelta(delta.index);
    this.#finishIfDone();
  }

  fail(how: "engineError" | "cut"): void {
    this.#strike(how, "");
  }

  /** After a slow reader has caught up: everything held back, joined per choice. */
  #flush(): void {
    for (let index = 0; index < this.#unsent.length; index++) {
      if (this.#control.socket.isFull) return;
      if (this.#unsent[index] !== undefined) this.#sendDelta(index);
    }
    this.#finishIfDone();
  }

  #sendDelta(index: number): void {
    const delta = this.#unsent[index]!;
    this.#unsent[index] = undefined;
    this.#spoken.add(index);
    const opening = this.#begun ? [] : this.#writer.begin(this.#control.cachedTokens());
    this.#begun = true;
    for (const event of opening) this.#send(event);
    this.#tokensWithoutEvent += delta.tokenIds.length;
    for (const event of this.#writer.delta(delta)) this.#send(event);
  }

  #finishIfDone(): void {
    const { isGenerated, close, socket } = this.#control;
    if (this.#silent || !isGenerated() || this.#unsent.some((delta) => delta !== undefined)) return;
    for (const event of this.#writer.end()) this.#send(event);
    if (this.#silent) return;
    this.#silent = true;
    close("finished");
    socket.res.end();
  }

  /** Writes an event, unless a fault strikes before it. */
  #send(event: string): void {
    if (this.#silent) return;
    const { faults, entry, socket } = this.#control;
    const strike = strikeAt(faults, entry.outputTokens);
    if (strike !== undefined && !(strike === "garbage" && this.#garbageSent)) {
      this.#strike(strike, event);
      if (strike !== "garbage") return;
    } else {
      socket.write(event);
    }
    entry.outputTokens += this.#tokensWithoutEvent;
    noteTokens(entry, this.#tokensWithoutEvent);
    this.#tokensWithoutEvent = 0;
  }

  #strike(strike: Strike, event: string): void {
    const { socket, close, faults, park, die } = this.#control;
    const half = event.slice(0, Math.floor(event.length / 2));
    if (strike === "garbage") {
      this.#garbageSent = true;
      socket.write(`${half}\n\n`);
      return;
    }
    this.#silent = true;
    switch (strike) {
      case "stall":
        park();
        break;
      case "die":
        die();
        break;
      case "cut":
        close("failed");
        socket.cut(faults.cut?.insideEvent === true ? half : "");
        break;
      case "endWithoutDone":
        close("failed");
        socket.res.end();
        break;
      default:
        close("failed");
        this.#sayEngineDied();
    }
  }

  #sayEngineDied(): void {
    const { socket } = this.#control;
    const failure = this.#writer.failure(engineDead().body());
    for (const event of failure ?? []) socket.write(event);
    if (failure === undefined) socket.cut("");
    else socket.res.end();
  }
}
