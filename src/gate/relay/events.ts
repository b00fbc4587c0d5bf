import type { StreamReader } from "../../engine/endpoint.ts";
import { SseParser } from "../../engine/sse.ts";
import { type Ending, failed } from "../endings.ts";
import type { Taken } from "./answer.ts";

/** What an error frame inside a stream means. */
export type EngineErrorEnding = (status: number, message: string) => Ending;

/** Feeds an engine's event stream to a reader. Shared by the modes `stream` and `aggregate`. */
export class EventFeed {
  readonly #parser = new SseParser();
  readonly #reader: StreamReader;
  readonly #engineError: EngineErrorEnding;
  complete = false;
  events = 0;

  constructor(reader: StreamReader, engineError: EngineErrorEnding) {
    this.#reader = reader;
    this.#engineError = engineError;
  }

  take(chunk: Uint8Array): Taken {
    let text = "";
    let progressed = false;
    for (const event of this.#parser.push(chunk)) {
      this.events += 1;
      if (event.garbage) return { text, progressed, broken: failed("an event without end") };
      let step: ReturnType<StreamReader["take"]>;
      try {
        step = this.#reader.take(event);
      } catch {
        return { text, progressed, broken: failed("an event that cannot be read") };
      }
      text += step.forward;
      progressed ||= step.progressed;
      if (step.enough) {
        this.complete = true;
        return { text, progressed, broken: null, enough: true };
      }
      if (step.end === "complete") this.complete = true;
      else if (step.end !== undefined) {
        return { text, progressed, broken: this.#engineError(step.end.status, step.end.engineError) };
      }
    }
    return { text, progressed, broken: null };
  }
}
