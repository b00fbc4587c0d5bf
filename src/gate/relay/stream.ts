import { type Away, aside } from "../../contract/continuation.ts";
import type { StreamReader } from "../../engine/endpoint.ts";
import { COMPLETE, failed } from "../endings.ts";
import type { Answer } from "./answer.ts";
import { type EngineErrorEnding, EventFeed } from "./events.ts";

/** Mode `stream`: the engine's events go to the edge as they come, less what the client did not ask for. */
export function streamAnswer(reader: StreamReader, engineError: EngineErrorEnding): Answer {
  const feed = new EventFeed(reader, engineError);
  return {
    contentType: "text/event-stream",
    bridge: ": waiting\n\n",
    stoppable: true,
    take: (chunk) => feed.take(chunk),
    // A clean end proves nothing: engines send one after a crash, too. Only the reader knows.
    eof: () => (feed.complete ? COMPLETE : failed("the stream ended without a finish reason")),
    get complete() {
      return feed.complete;
    },
    usage: () => reader.usage(),
    delivered: () => reader.delivered?.() ?? reader.usage(),
    lastWords(away: Away | null) {
      const whole = reader.told?.() ?? null;
      if (whole === null && away === null) return "";
      const told =
        whole === null ? null : { promptTokens: whole.promptTokens, outputTokens: whole.outputTokens };
      return aside({ told, away });
    },
    get promptKnown() {
      return reader.promptKnown;
    },
    get events() {
      return feed.events;
    },
    closing(ending) {
      if (ending.outcome === "stopped") return reader.stopNow();
      return ending.failure === null ? "" : reader.failNow(ending.failure);
    },
  };
}
