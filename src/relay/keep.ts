import {
  RESUME_DRAIN_MS,
  RESUME_KEPT_IN_FLIGHT_MAX_BYTES,
  RESUME_KEPT_MAX_BYTES,
  RESUME_WITHIN_MS,
} from "../bounds.ts";
import { withDeadline } from "../deadline.ts";

const READ_BYTES = 64 * 1024;

let bytesInFlight = 0;

/** Counts what is kept of a stream that waits to be carried on, whose `Kept` is gone. Returns what ends that. */
export function stillKept(bytes: number): () => void {
  bytesInFlight += bytes;
  return () => {
    bytesInFlight -= bytes;
  };
}

/**
 * Keeps what a client is being sent, for the case that the stream breaks off. The bytes go to the client natively; this
 * is the other branch of the same stream, emptied now and then, so that the cost does not grow with the number of events.
 * It also sees what a native pipe cannot tell: that nothing comes any more.
 */
export class Kept {
  readonly #reader: ReadableStreamBYOBReader;
  readonly #onSilence: () => void;
  readonly #silenceMaxMs: number;
  readonly #pieces: Uint8Array[] = [];
  #bytes = 0;
  #lost = false;
  #ended = false;
  #reading: Promise<void> | null = null;
  #heardAtMs = Date.now();
  #timer: ReturnType<typeof setTimeout> | null = null;

  /**
   * @param before what the client had of the stream before this part of it
   * @param onSilence called when nothing has come for `silenceMaxMs`: the way to the gate is dead, or the gate is
   */
  constructor(
    branch: ReadableStream<Uint8Array>,
    before: Uint8Array,
    silenceMaxMs: number,
    onSilence: () => void,
  ) {
    this.#reader = branch.getReader({ mode: "byob" });
    this.#silenceMaxMs = silenceMaxMs;
    this.#onSilence = onSilence;
    this.#keep(before);
    this.#later();
  }

  /** Reads what is left of a stream that broke off. All that was sent of it, or null where not all could be kept. */
  async rest(): Promise<Uint8Array | null> {
    this.#stop();
    const read = async () => {
      while (!this.#ended && !this.#lost) await (this.#reading ?? this.#read());
    };
    await withDeadline(read(), RESUME_WITHIN_MS).catch(() => this.drop());
    if (this.#lost) return null;
    const all = new Uint8Array(this.#bytes);
    let at = 0;
    for (const piece of this.#pieces) {
      all.set(piece, at);
      at += piece.length;
    }
    return all;
  }

  /** Forgets everything; the branch must not pull the origin to its end. Once more does nothing. */
  drop(): void {
    this.#stop();
    this.#lost = true;
    bytesInFlight -= this.#bytes;
    this.#bytes = 0;
    this.#pieces.length = 0;
    this.#reader.cancel().catch(() => undefined);
  }

  #stop(): void {
    if (this.#timer !== null) clearTimeout(this.#timer);
    this.#timer = null;
  }

  #later(): void {
    this.#timer = setTimeout(() => {
      if (this.#reading !== null && Date.now() - this.#heardAtMs >= this.#silenceMaxMs)
        return this.#onSilence();
      if (this.#reading === null) void this.#read();
      this.#later();
    }, RESUME_DRAIN_MS);
  }

  /** One read takes what is there; with nothing there it waits for the next event, a single wake-up. */
  #read(): Promise<void> {
    this.#reading = this.#readOnce().finally(() => {
      this.#reading = null;
    });
    return this.#reading;
  }

  async #readOnce(): Promise<void> {
    try {
      for (;;) {
        const { value, done } = await this.#reader.read(new Uint8Array(READ_BYTES));
        this.#heardAtMs = Date.now();
        if (done) {
          this.#ended = true;
          return;
        }
        this.#keep(value);
        if (this.#lost || value.length < READ_BYTES) return;
      }
    } catch {
      this.#ended = true;
    }
  }

  #keep(value: Uint8Array): void {
    if (this.#lost) return;
    const tooMuch =
      this.#bytes + value.length > RESUME_KEPT_MAX_BYTES ||
      bytesInFlight + value.length > RESUME_KEPT_IN_FLIGHT_MAX_BYTES;
    if (tooMuch) {
      this.drop();
      return;
    }
    // A copy: the view's buffer is as large as a read may be.
    this.#pieces.push(value.slice());
    this.#bytes += value.length;
    bytesInFlight += value.length;
  }
}
