import type { OriginOrder } from "../contract/origin-token.ts";
import type { Usage } from "../contract/report.ts";
import { errorBody, type Failure } from "../errors.ts";
import type { Aggregator, JsonObject, StreamReader, StreamStep } from "./endpoint.ts";
import {
  broken,
  type EngineEnd,
  ended,
  frameOf,
  NOTHING,
  namedFrame,
  tokensOf,
  withModel,
} from "./frames.ts";
import { isJsonObject } from "./schema.ts";
import type { SseEvent } from "./sse.ts";

/** Anthropic's usage: `input_tokens` are those that the cache did not have. Null when it is none. */
export function anthropicUsage(usage: JsonObject): Usage | null {
  const uncached = tokensOf(usage.input_tokens);
  if (uncached === null) return null;
  const cachedTokens = tokensOf(usage.cache_read_input_tokens) ?? 0;
  const created = tokensOf(usage.cache_creation_input_tokens) ?? 0;
  return {
    promptTokens: uncached + cachedTokens + created,
    cachedTokens,
    outputTokens: tokensOf(usage.output_tokens) ?? 0,
  };
}

/**
 * Reads the streams of /v1/messages. The engine tells the prompt's tokens in the first frame and the output's in the
 * last but one (`message_delta`); between them every delta counts as one token, which is a lower bound.
 */
export class MessagesReader implements StreamReader {
  readonly model: string;
  readonly order: OriginOrder;
  promptKnown = false;
  protected start: JsonObject | null = null;
  protected stopReason: unknown = null;
  protected stopSequence: unknown = null;
  protected finalUsage: JsonObject | null = null;
  protected stopped = false;
  #usage: Usage = { promptTokens: 0, cachedTokens: 0, outputTokens: 0 };
  #openBlock: number | null = null;
  #end: "complete" | EngineEnd | null = null;

  constructor(model: string, order: OriginOrder) {
    this.model = model;
    this.order = order;
  }

  get complete(): boolean {
    return this.#end === "complete";
  }

  usage(): Usage {
    return this.#usage;
  }

  take(event: SseEvent): StreamStep {
    if (this.stopped) return NOTHING;
    if (this.#end !== null) return ended(this.#end);
    if (event.comment) return { forward: this.pass(event.raw), progressed: false };
    const read = frameOf(event);
    if ("end" in read) return this.#fail(read.end);
    return this.#takeFrame(event, read.frame);
  }

  stopNow(): string {
    if (this.stopped || this.#end !== null) return "";
    this.stopped = true;
    let frames = "";
    if (this.start === null)
      frames += namedFrame("message_start", { type: "message_start", message: this.head() });
    if (this.#openBlock !== null) {
      frames += namedFrame("content_block_stop", { type: "content_block_stop", index: this.#openBlock });
    }
    if (this.stopReason === null) {
      frames += namedFrame("message_delta", {
        type: "message_delta",
        delta: { stop_reason: "max_tokens", stop_sequence: null },
        usage: this.shownUsage(),
      });
    }
    return frames + namedFrame("message_stop", { type: "message_stop" });
  }

  failNow(failure: Failure): string {
    return namedFrame("error", errorBody(failure, "anthropic"));
  }

  protected pass(raw: string): string {
    return raw;
  }

  /** Tells of each frame between the first and the last. */
  protected keep(_frame: JsonObject): void {}

  /** The message as it starts. */
  protected head(): JsonObject {
    return {
      id: this.start?.id ?? `chatcmpl-${this.order.requestId}`,
      type: "message",
      role: "assistant",
      content: [],
      model: this.model,
      stop_reason: null,
      stop_sequence: null,
      usage: this.shownUsage(),
    };
  }

  protected shownUsage(): JsonObject {
    const { promptTokens, outputTokens } = this.#usage;
    return {
      input_tokens: this.promptKnown ? promptTokens : this.order.estimatedPromptTokens,
      output_tokens: outputTokens,
    };
  }

  #takeFrame(event: SseEvent, frame: JsonObject): StreamStep {
    switch (frame.type) {
      case "message_start":
        return this.#takeStart(event, frame);
      case "content_block_start":
        this.#openBlock = tokensOf(frame.index);
        break;
      case "content_block_delta":
        this.#takeDelta(frame);
        break;
      case "content_block_stop":
        this.#openBlock = null;
        break;
      case "message_delta":
        return this.#takeEnd(event, frame);
      case "message_stop":
        if (this.stopReason === null) return this.#fail(broken("message_stop before a stop reason"));
        this.#end = "complete";
        return ended("complete", this.pass(event.raw));
      default:
        return { forward: this.pass(event.raw), progressed: false };
    }
    this.keep(frame);
    return { forward: this.pass(event.raw), progressed: true };
  }

  #takeStart(event: SseEvent, frame: JsonObject): StreamStep {
    const message = isJsonObject(frame.message) ? frame.message : null;
    if (message === null) return this.#fail(broken("message_start without a message"));
    this.start = message;
    const usage = isJsonObject(message.usage) ? anthropicUsage(message.usage) : null;
    if (usage !== null) {
      this.#usage = usage;
      this.promptKnown = usage.promptTokens > 0;
    }
    const raw = message.model === this.model ? event.raw : withModel(event.raw, this.model);
    return { forward: this.pass(raw), progressed: true };
  }

  #takeDelta(frame: JsonObject): void {
    // The engine signs a thought without generating anything.
    if (isJsonObject(frame.delta) && frame.delta.type === "signature_delta") return;
    this.#usage = { ...this.#usage, outputTokens: this.#usage.outputTokens + 1 };
  }

  #takeEnd(event: SseEvent, frame: JsonObject): StreamStep {
    const delta = isJsonObject(frame.delta) ? frame.delta : {};
    // Null is what the engine says of an aborted answer.
    if (typeof delta.stop_reason !== "string")
      return this.#fail(broken("the engine ended it without a stop reason"));
    this.stopReason = delta.stop_reason;
    this.stopSequence = delta.stop_sequence ?? null;
    this.finalUsage = isJsonObject(frame.usage) ? frame.usage : null;
    const usage = this.finalUsage === null ? null : anthropicUsage(this.finalUsage);
    if (usage !== null) {
      this.#usage = usage;
      this.promptKnown = true;
    }
    return { forward: this.pass(event.raw), progressed: true };
  }

  #fail(end: EngineEnd): StreamStep {
    this.#end = end;
    return ended(end);
  }
}

/** One message from its stream: thinking first, then text, as the engine orders them in one JSON. */
export class MessagesAggregator extends MessagesReader implements Aggregator {
  readonly #text: string[] = [];
  readonly #thinking: string[] = [];
  #signature: unknown = "";

  whole(): JsonObject {
    if (!this.complete && !this.stopped) throw new Error("the stream is not complete");
    const content: JsonObject[] = [];
    const thinking = this.#thinking.join("");
    const text = this.#text.join("");
    if (thinking !== "") content.push({ type: "thinking", thinking, signature: this.#signature });
    if (text !== "" || content.length === 0) content.push({ type: "text", text });
    const { stop_sequence: _none, ...head } = this.head();
    return {
      ...head,
      content,
      stop_reason: this.#wholeStopReason(),
      ...(this.stopSequence === null ? {} : { stop_sequence: this.stopSequence }),
      usage: withoutNulls(this.finalUsage ?? this.shownUsage()),
    };
  }

  override stopNow(): string {
    super.stopNow();
    return "";
  }

  protected override pass(): string {
    return "";
  }

  protected override keep(frame: JsonObject): void {
    const delta = isJsonObject(frame.delta) ? frame.delta : {};
    if (typeof delta.text === "string") this.#text.push(delta.text);
    else if (typeof delta.thinking === "string") this.#thinking.push(delta.thinking);
    else if (typeof delta.signature === "string") this.#signature = delta.signature;
  }

  /** A call of a tool that nobody offered is dropped by the engine where it answers with one JSON. */
  #wholeStopReason(): unknown {
    if (this.stopReason === null) return "max_tokens";
    return this.stopReason === "tool_use" ? "end_turn" : this.stopReason;
  }
}

function withoutNulls(value: JsonObject): JsonObject {
  return Object.fromEntries(Object.entries(value).filter(([, one]) => one !== null));
}
