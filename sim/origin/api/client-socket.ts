/** One response's socket: writes, and notices at once when the client leaves. */
import type { IncomingMessage, ServerResponse } from "node:http";

export class ClientSocket {
  readonly res: ServerResponse;
  readonly #req: IncomingMessage;
  readonly #onLeave: () => void;
  #keepAlive: NodeJS.Timeout | undefined;
  #onDrain: (() => void) | undefined;

  constructor(req: IncomingMessage, res: ServerResponse, onLeave: () => void) {
    this.#req = req;
    this.res = res;
    this.#onLeave = onLeave;
    // 'end' is the client's FIN, also of a half-close; Node then ends our side too, after what was written. Both
    // happen in the same turn, so nothing is written, or counted, between the FIN being seen and the abort.
    req.socket.once("end", onLeave);
    // RST, or anything else that ends the connection.
    res.once("close", onLeave);
  }

  /** Sends the headers of a stream. */
  openStream(keepAliveIntervalS: number): void {
    this.res.writeHead(200, { "content-type": "text/event-stream; charset=utf-8" });
    this.res.flushHeaders();
    if (keepAliveIntervalS <= 0) return;
    this.#keepAlive = setInterval(() => this.res.write(": keep-alive\n\n"), keepAliveIntervalS * 1000);
  }

  /** True while the client reads slower than we write; vLLM's server holds back then too. */
  get isFull(): boolean {
    return this.res.writableNeedDrain;
  }

  onDrain(callback: () => void): void {
    this.#onDrain = callback;
    this.res.on("drain", callback);
  }

  write(event: string): void {
    this.#keepAlive?.refresh();
    this.res.write(event);
  }

  /** Breaks the connection off, once what was written so far and `last` are with the kernel. */
  cut(last: string): void {
    if (last !== "") this.res.write(last);
    this.#req.socket.destroySoon();
  }

  /** The outcome is decided: stops watching the client. */
  settle(): void {
    clearInterval(this.#keepAlive);
    this.#req.socket.off("end", this.#onLeave);
    this.res.off("close", this.#onLeave);
    if (this.#onDrain !== undefined) this.res.off("drain", this.#onDrain);
  }
}
