import type { JsonObject } from "./endpoint.ts";
import { isJsonObject } from "./schema.ts";

/** An event to be sent, still without its sequence number. */
export interface ItemEvent {
  readonly type: string;
  readonly fields: JsonObject;
}

/** The item that is being written. vLLM writes one at a time. */
interface OpenItem {
  readonly item: JsonObject;
  readonly index: number;
  readonly pieces: string[];
  hasPart: boolean;
}

const PIECES = new Set([
  "response.output_text.delta",
  "response.reasoning_text.delta",
  "response.function_call_arguments.delta",
]);

/**
 * Follows the output items of a Responses stream, so that the stream can be ended properly before the engine ends
 * it: an SDK refuses a completed response with an item that was opened and never done.
 */
export class OutputItems {
  readonly #done: JsonObject[] = [];
  #open: OpenItem | null = null;

  take(type: string, frame: JsonObject): void {
    if (type === "response.output_item.added" && isJsonObject(frame.item)) {
      this.#open = { item: frame.item, index: Number(frame.output_index), pieces: [], hasPart: false };
    } else if (type === "response.output_item.done" && isJsonObject(frame.item)) {
      this.#done.push(frame.item);
      this.#open = null;
    } else if (type === "response.content_part.added") {
      if (this.#open !== null) this.#open.hasPart = true;
    } else if (PIECES.has(type) && typeof frame.delta === "string") {
      this.#open?.pieces.push(frame.delta);
    }
  }

  done(): readonly JsonObject[] {
    return this.#done;
  }

  /** The events that end the open item as it stands. It counts as done afterwards. */
  close(): ItemEvent[] {
    const open = this.#open;
    if (open === null) return [];
    this.#open = null;
    const [item, events] = closed(open);
    this.#done.push(item);
    return [...events, { type: "response.output_item.done", fields: { item, output_index: open.index } }];
  }
}

function closed(open: OpenItem): [JsonObject, ItemEvent[]] {
  const { item, index, hasPart } = open;
  const written = open.pieces.join("");
  // A call that was cut short must not look as if it could be run.
  if (item.type === "function_call") return [{ ...item, arguments: written, status: "incomplete" }, []];
  if (!hasPart) return [{ ...item, status: "completed" }, []];
  const at = { item_id: item.id, output_index: index, content_index: 0 };
  const isMessage = item.type === "message";
  const part = isMessage
    ? { annotations: [], text: written, type: "output_text", logprobs: null }
    : { text: written, type: "reasoning_text" };
  const textDone = isMessage
    ? { type: "response.output_text.done", fields: { ...at, logprobs: [], text: written } }
    : { type: "response.reasoning_text.done", fields: { ...at, text: written } };
  const partDone = { type: "response.content_part.done", fields: { ...at, part } };
  return [{ ...item, content: [part], status: "completed" }, [textDone, partDone]];
}
