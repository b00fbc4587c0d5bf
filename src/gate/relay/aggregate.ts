import type { Aggregator } from "../../engine/endpoint.ts";
import { COMPLETE, failed } from "../endings.ts";
import type { Answer } from "./answer.ts";
import { type EngineErrorEnding, EventFeed } from "./events.ts";

/** Mode `aggregate`: the engine streams, the edge gets one JSON at the end. */
export function aggregateAnswer(aggregator: Aggregator, engineError: EngineErrorEnding): Answer {
  const feed = new EventFeed(aggregator, engineError);
  return {
    contentType: "application/json",
    bridge: " ",
    stoppable: true,
    take: (chunk) => ({ ...feed.take(chunk), text: "" }),
    eof: () => (feed.complete ? COMPLETE : failed("the stream ended without a finish reason")),
    get complete() {
      return feed.complete;
    },
    usage: () => aggregator.usage(),
    delivered: () => aggregator.usage(),
    lastWords: () => "",
    get promptKnown() {
      return aggregator.promptKnown;
    },
    get events() {
      return feed.events;
    },
    closing(ending) {
      if (ending.failure !== null) return null;
      if (ending.outcome === "stopped") aggregator.stopNow();
      return JSON.stringify(aggregator.whole());
    },
  };
}
