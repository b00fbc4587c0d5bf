import type { OriginOrder } from "../contract/origin-token.ts";
import type { Usage } from "../contract/report.ts";
import { type Failure, told } from "../errors.ts";
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
import { createdSeconds, numberOf } from "./order.ts";
import { OutputItems } from "./output-items.ts";
import { isJsonObject } from "./schema.ts";
import type { SseEvent } from "./sse.ts";

/** A response that has begun, where no engine told of it: the least that an SDK needs. */
export function leastResponse(order: OriginOrder, model: string): JsonObject {
  return {
    id: `resp_${order.requestId}`,
    object: "response",
    created_at: createdSeconds(order),
    status: "in_progress",
    error: null,
    incomplete_details: null,
    parallel_tool_calls: true,
    tool_choice: "auto",
    tools: [],
    output: [],
    usage: null,
    model,
  };
}

/** Usage of the Responses API; null when it is none. */
export function responsesUsage(usage: JsonObject): Usage | null {
  const promptTokens = tokensOf(usage.input_tokens);
  if (promptTokens === null) return null;
  const details = isJsonObject(usage.input_tokens_details) ? usage.input_tokens_details : {};
  return {
    promptTokens,
    cachedTokens: Math.min(promptTokens, tokensOf(details.cached_tokens) ?? 0),
    outputTokens: tokensOf(usage.output_tokens) ?? 0,
  };
}

/** Events that the engine sends when it has the request, long before the first token. */
const OPENING = new Set(["response.created", "response.in_progress", "response.queued"]);
const PROPER_STATUSES = new Set<unknown>(["completed", "incomplete"]);

/**
 * Reads the streams of /v1/responses. Usage comes with the last event only; until then every delta counts as one
 * token, a lower bound, and the prompt is unknown. The opening events are held until the answer begins: once they are
 * with the client, another replica could not take over.
 */
export class ResponsesReader implements StreamReader {
  readonly model: string;
  readonly order: OriginOrder;
  promptKnown = false;
  protected final: JsonObject | null = null;
  protected stopped = false;
  protected readonly items = new OutputItems();
  #usage: Usage = { promptTokens: 0, cachedTokens: 0, outputTokens: 0 };
  #created: JsonObject | null = null;
  #held = "";
  #sequence = -1;
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
    // OpenAI's own servers end the stream so; vLLM does not, and it adds nothing to `response.completed`.
    if (event.data === "[DONE]") return this.#fail(broken("[DONE] before the response was complete"));
    const read = frameOf(event);
    if ("end" in read) return this.#fail(read.end);
    return this.#takeFrame(event, read.frame);
  }

  stopNow(): string {
    if (this.stopped || this.#end !== null) return "";
    this.stopped = true;
    let frames = this.#held;
    if (this.#created === null) frames += this.#frame("response.created", { response: this.#started() });
    for (const { type, fields } of this.items.close()) frames += this.#frame(type, fields);
    this.final = this.#incomplete();
    return frames + this.#frame("response.completed", { response: this.final });
  }

  failNow(failure: Failure): string {
    const { code, message, param } = told(failure);
    return this.#frame("error", { code, message, param: param ?? null });
  }

  protected pass(raw: string): string {
    return raw;
  }

  #takeFrame(event: SseEvent, frame: JsonObject): StreamStep {
    this.#sequence = numberOf(frame.sequence_number) ?? this.#sequence + 1;
    const type = String(frame.type);
    const response = isJsonObject(frame.response) ? frame.response : null;
    const renamed = response !== null && response.model !== this.model;
    const raw = renamed ? withModel(event.raw, this.model) : event.raw;
    if (OPENING.has(type)) {
      this.#created ??= response;
      this.#held += this.pass(raw);
      return NOTHING;
    }
    if (type === "error" || type === "response.failed") {
      const message = typeof frame.message === "string" ? frame.message : "the engine failed the response";
      return this.#fail({ engineError: message, status: 500 });
    }
    const forward = this.#held + this.pass(raw);
    this.#held = "";
    if (type === "response.completed" || type === "response.incomplete")
      return this.#takeEnd(response, forward);
    if (type.endsWith(".delta")) {
      this.#usage = { ...this.#usage, outputTokens: this.#usage.outputTokens + 1 };
    }
    this.items.take(type, frame);
    return { forward, progressed: true };
  }

  #takeEnd(response: JsonObject | null, forward: string): StreamStep {
    if (response === null || !PROPER_STATUSES.has(response.status)) {
      return this.#fail(broken(`the engine ended the response as ${String(response?.status)}`));
    }
    this.final = response;
    const usage = isJsonObject(response.usage) ? responsesUsage(response.usage) : null;
    if (usage !== null) {
      this.#usage = usage;
      this.promptKnown = true;
    }
    this.#end = "complete";
    return ended("complete", forward, true);
  }

  #frame(type: string, fields: JsonObject): string {
    this.#sequence += 1;
    return namedFrame(type, { type, sequence_number: this.#sequence, ...fields });
  }

  /** The response as the engine began it. */
  #started(): JsonObject {
    return this.#created === null
      ? leastResponse(this.order, this.model)
      : { ...this.#created, model: this.model };
  }

  /** As vLLM ends a response that reached `max_output_tokens`. */
  #incomplete(): JsonObject {
    const { outputTokens } = this.#usage;
    const inputTokens = this.promptKnown ? this.#usage.promptTokens : this.order.estimatedPromptTokens;
    return {
      ...this.#started(),
      status: "incomplete",
      incomplete_details: { reason: "max_output_tokens" },
      output: this.items.done(),
      usage: {
        input_tokens: inputTokens,
        input_tokens_details: { cached_tokens: 0, cache_write_tokens: 0 },
        output_tokens: outputTokens,
        output_tokens_details: { reasoning_tokens: 0 },
        total_tokens: inputTokens + outputTokens,
      },
    };
  }

  #fail(end: EngineEnd): StreamStep {
    this.#end = end;
    return ended(end);
  }
}

/** The last event holds the answer; only a reasoning item's status differs from the one in one JSON. */
export class ResponsesAggregator extends ResponsesReader implements Aggregator {
  whole(): JsonObject {
    if (this.final === null) throw new Error("the stream is not complete");
    const output = Array.isArray(this.final.output) ? this.final.output : [];
    return {
      ...this.final,
      model: this.model,
      output: output.map((item: JsonObject) =>
        item.type === "reasoning" ? { ...item, status: null } : item,
      ),
    };
  }

  override stopNow(): string {
    super.stopNow();
    return "";
  }

  protected override pass(): string {
    return "";
  }
}
