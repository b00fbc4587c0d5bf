import type { ServerResponse } from "node:http";
import { EVENT_MAX_BYTES } from "../bounds.ts";
import type { ErrorShape } from "../errors.ts";
import { EDGE_FLUSH_MAX_MS } from "./bounds.ts";
import { type Ending, failed } from "./endings.ts";
import { ownTime } from "./own-time.ts";
import { sendFailure } from "./refusal.ts";
import type { Answer } from "./relay/answer.ts";

/** The edge's side of an exchange: what was sent, and how it can still be ended. */
export class EdgeAnswer {
  readonly #res: ServerResponse;
  readonly #contentType: Answer["contentType"];
  readonly #errorShape: ErrorShape;
  #held = "";
  /** Whether the edge got anything but a true error status. */
  sent = false;

  constructor(res: ServerResponse, contentType: Answer["contentType"], errorShape: ErrorShape) {
    this.#res = res;
    this.#contentType = contentType;
    this.#errorShape = errorShape;
  }

  get gone(): boolean {
    return this.#res.destroyed;
  }

  /**
   * Keeps what belongs before the first token. As long as it is only kept, the edge can fail over. False when it is
   * more than any engine has to say by then.
   */
  hold(text: string): boolean {
    this.#held += text;
    return this.#held.length <= EVENT_MAX_BYTES;
  }

  /** Whole events, in one write: a cut can then hardly fall inside one. False: wait for `onDrain`. */
  write(text: string, onDrain: () => void): boolean {
    this.#sendHead();
    const flows = this.#res.write(this.#held === "" ? text : this.#held + text);
    this.#held = "";
    if (!flows) this.#res.once("drain", onDrain);
    return flows;
  }

  /** A sign of life that is no part of the answer. */
  bridge(text: string): void {
    this.#sendHead();
    if (!this.#res.writableNeedDrain) this.#res.write(text);
  }

  /** The answer's proper end. `text` is the rest of it. */
  end(text: string): void {
    const rest = this.#held + text;
    this.#held = "";
    if (!this.sent && this.#contentType === "application/json") {
      this.sent = true;
      this.#res.writeHead(200, {
        ...ownTime(this.#res),
        "content-type": this.#contentType,
        "content-length": Buffer.byteLength(rest),
      });
    } else this.#sendHead();
    this.#res.end(rest);
    closeUnread(this.#res);
  }

  /** Ends a stream abruptly after its last words, for an edge that carries it on. Only once it was begun. */
  cut(lastWords: string): void {
    const rest = this.#held + lastWords;
    this.#held = "";
    if (rest !== "") this.#res.write(rest);
    this.#res.socket?.destroySoon();
    closeUnread(this.#res);
  }

  /** An end that nobody takes for a proper one: a true status while there is none yet, an abrupt cut after that. */
  break(ending: Ending): void {
    if (this.sent) {
      // What was written is still delivered: it is on the bill, and a resumed stream goes on after it. Then the
      // connection closes without the last chunk, which no client takes for an end.
      this.#res.socket?.destroySoon();
      closeUnread(this.#res);
      return;
    }
    const failure = ending.failure ?? failed("an answer that cannot be ended").failure!;
    sendFailure(this.#res, failure, this.#errorShape, ending);
    closeUnread(this.#res);
  }

  #sendHead(): void {
    if (this.sent) return;
    this.sent = true;
    const headers = { "content-type": this.#contentType, "cache-control": "no-store" };
    this.#res.writeHead(200, { ...headers, ...ownTime(this.#res) });
  }
}

/** An edge that reads nothing must not keep an ended answer in memory. */
function closeUnread(res: ServerResponse): void {
  if (res.writableFinished) return;
  const timer = setTimeout(() => res.destroy(), EDGE_FLUSH_MAX_MS);
  res.once("close", () => clearTimeout(timer));
}
