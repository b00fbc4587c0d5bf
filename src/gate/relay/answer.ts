import type { Away } from "../../contract/continuation.ts";
import type { Usage } from "../../contract/report.ts";
import type { Ending } from "../endings.ts";

/** What one piece of the engine's body came to. */
export interface Taken {
  /** Whole events for the edge, now. Empty in the modes that answer with one JSON. */
  readonly text: string;
  /** True when there was generated output in it: comments and empty frames are no sign of life. */
  readonly progressed: boolean;
  /** Set when the engine told its own failure, or sent what nobody can read. */
  readonly broken: Ending | null;
  /** True when the answer is complete and the engine, which does not know of it, is to be stopped. */
  readonly enough?: boolean;
}

/** What a mode makes of the engine's body. One per attempt; knows nothing of sockets and timers. */
export interface Answer {
  readonly contentType: "text/event-stream" | "application/json";
  /** What may be sent before the answer without being part of it. */
  readonly bridge: string;
  /** Whether a budget can end it early with what there is. */
  readonly stoppable: boolean;
  take(chunk: Uint8Array): Taken;
  /** The engine's body has ended: complete, or broken off. */
  eof(): Ending;
  /** True once the engine has told everything, even if its connection never closes. */
  readonly complete: boolean;
  usage(): Usage;
  /** Tokens up to the last text, where another engine may go on after it; `usage` where that is not known apart. */
  delivered(): Usage;
  /**
   * Last words to an edge that carries the answer on after a cut; empty where there are none.
   * @param away why it is cut, where nothing has failed
   */
  lastWords(away: Away | null): string;
  /** True once the engine told the prompt's tokens. */
  readonly promptKnown: boolean;
  /** Events read so far. */
  readonly events: number;
  /** The last text for the edge, which ends the answer as `ending` demands; null where it can only be cut off. */
  closing(ending: Ending): string | null;
}
