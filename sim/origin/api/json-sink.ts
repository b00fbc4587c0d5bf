/** Collects an answer and sends it as one JSON. */
import { type Delta, joinDeltas } from "../engine/sequence.ts";
import { type Strike, strikeAt } from "../faults.ts";
import { noteTokens } from "../ledger.ts";
import type { AnswerControl, Sink } from "./answer.ts";
import { engineDead } from "./errors.ts";
import { jsonHeaders, sendError, sendJson } from "./http.ts";
import type { Writer } from "./plan.ts";

export class JsonSink implements Sink {
  readonly #control: AnswerControl;
  readonly #writer: Writer;
  readonly #results: (Delta | undefined)[];
  #silent = false;

  constructor(control: AnswerControl) {
    this.#control = control;
    this.#writer = control.writer;
    this.#results = control.plan.choices.map(() => undefined);
  }

  start(): void {}

  accept(delta: Delta): void {
    if (this.#silent) return;
    const before = this.#results[delta.index];
    this.#results[delta.index] = before === undefined ? delta : joinDeltas(before, delta);
    const { faults, entry, isGenerated, close, socket } = this.#control;
    const strike = strikeAt(faults, entry.generatedTokens);
    const spoilsBody = strike !== undefined && this.#spoilsBody(strike);
    if (strike !== undefined && !spoilsBody) this.#strike(strike, "");
    if (this.#silent || !isGenerated()) return;
    const body = JSON.stringify(this.#writer.body(this.#results as Delta[], this.#control.cachedTokens()));
    if (spoilsBody) {
      this.#strike(strike, body);
      return;
    }
    this.#silent = true;
    entry.outputTokens = entry.generatedTokens;
    noteTokens(entry, entry.outputTokens);
    close("finished");
    sendJson(socket.res, 200, body);
  }

  fail(how: "engineError" | "cut"): void {
    this.#strike(how, "");
  }

  /** These need the whole body; the others strike while the answer is being computed. */
  #spoilsBody(strike: Strike): boolean {
    if (strike === "cut") return this.#control.faults.cut?.insideEvent === true;
    return strike === "garbage" || strike === "endWithoutDone";
  }

  #strike(strike: Strike, body: string): void {
    const { socket, close, park, die, entry, plan } = this.#control;
    const half = body.slice(0, Math.floor(body.length / 2));
    this.#silent = true;
    if (strike !== "stall" && strike !== "die") close("failed");
    switch (strike) {
      case "stall":
        park();
        break;
      case "die":
        die();
        break;
      case "cut":
        if (body !== "") socket.res.writeHead(200, jsonHeaders(body));
        socket.cut(half);
        break;
      case "garbage":
        sendJson(socket.res, 200, half);
        break;
      case "endWithoutDone":
        // Chunked, so that the end looks proper although half is missing.
        socket.res.writeHead(200, { "content-type": "application/json" });
        socket.res.end(half);
        break;
      default:
        entry.status = 500;
        sendError(socket.res, engineDead(), plan.errorShape);
    }
  }
}
