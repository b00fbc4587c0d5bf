/** How vLLM writes an answer in the shape of Anthropic's Messages API. */
import type { Delta } from "../engine/sequence.ts";
import type { ReplicaOptions } from "../options.ts";
import type { ChatRequest } from "./chat-request.ts";
import { type DeltaParser, parseWhole, type ToolCallDelta } from "./delta-parser.ts";
import { namedEvent, randomId, type Writer } from "./plan.ts";

type Settings = {
  readonly id: string;
  readonly options: ReplicaOptions;
  readonly chat: ChatRequest;
  readonly noUsage: boolean;
};
type StopReason = { readonly stop_reason: string; readonly stop_sequence: string | null };

// Word for word what the handler says when the engine's error reaches it where it expects a chunk.
const CHUNK_ERROR = ["model", "choices"]
  .map(
    (field) =>
      `\n${field}\n  Field required [type=missing, input_value={'error': {'message': 'En...am': None, 'code': 500}}, ` +
      "input_type=dict]\n    For further information visit https://errors.pydantic.dev/2.14/v/missing",
  )
  .join("");

export class MessagesWriter implements Writer {
  readonly #settings: Settings;
  readonly #parser: DeltaParser;
  #block: "text" | "tool_use" | undefined;
  #blockIndex = 0;
  #tokens = 0;
  #cachedTokens = 0;
  #stop: StopReason = { stop_reason: "end_turn", stop_sequence: null };

  constructor(settings: Settings) {
    this.#settings = settings;
    this.#parser = settings.chat.newParser();
  }

  begin(cachedTokens: number): string[] {
    this.#cachedTokens = cachedTokens;
    const { id, options, chat } = this.#settings;
    const message = {
      id,
      type: "message",
      role: "assistant",
      content: [],
      model: options.model,
      stop_reason: null,
      stop_sequence: null,
      usage: { input_tokens: chat.promptIds.length, output_tokens: 0 },
    };
    return [namedEvent("message_start", { type: "message_start", message })];
  }

  delta(delta: Delta): string[] {
    this.#tokens += delta.tokenIds.length;
    const said = this.#parser.push(delta.text, delta.finish !== undefined);
    if (delta.finish !== undefined) this.#stop = stopReason(delta, this.#parser.called);
    const calls = said?.tool_calls ?? [];
    return [...(said?.content ? this.#text(said.content) : []), ...calls.flatMap((call) => this.#call(call))];
  }

  end(): string[] {
    const usage = this.#settings.noUsage ? {} : { usage: this.#usage(this.#tokens, this.#cachedTokens) };
    return [
      ...this.#closeBlock(),
      namedEvent("message_delta", { type: "message_delta", delta: this.#stop, ...usage }),
      namedEvent("message_stop", { type: "message_stop" }),
    ];
  }

  failure(): string[] {
    const message = `2 validation errors for ChatCompletionStreamResponse${CHUNK_ERROR}`;
    return [namedEvent("error", { type: "error", error: { type: "internal_error", message } })];
  }

  body(results: readonly Delta[], cachedTokens: number): object {
    const { id, options, noUsage } = this.#settings;
    const result = results[0]!;
    const { content, call } = options.enableAutoToolChoice
      ? parseWhole(result.text)
      : { content: result.text, call: undefined };
    const blocks: object[] = content ? [{ type: "text", text: content }] : [];
    if (call !== undefined) {
      const input = JSON.parse(call.arguments) as object;
      blocks.push({ type: "tool_use", id: `chatcmpl-tool-${randomId()}`, name: call.name, input });
    }
    const { stop_reason, stop_sequence } = stopReason(result, call !== undefined);
    return {
      id,
      type: "message",
      role: "assistant",
      content: blocks.length > 0 ? blocks : [{ type: "text", text: "" }],
      model: options.model,
      stop_reason,
      ...(stop_sequence === null ? {} : { stop_sequence }),
      ...(noUsage ? {} : { usage: this.#usage(result.tokenIds.length, cachedTokens) }),
    };
  }

  #text(text: string): string[] {
    const opened = this.#openBlock("text", { type: "text", text: "" });
    return [...opened, this.#blockDelta({ type: "text_delta", text })];
  }

  #call(call: ToolCallDelta): string[] {
    const { name, arguments: added } = call.function;
    if (name !== undefined)
      return this.#openBlock("tool_use", { type: "tool_use", id: call.id, name, input: {} });
    return [this.#blockDelta({ type: "input_json_delta", partial_json: added })];
  }

  #openBlock(type: "text" | "tool_use", block: object): string[] {
    if (this.#block === type) return [];
    const closed = this.#closeBlock();
    this.#block = type;
    const start = { type: "content_block_start", content_block: block, index: this.#blockIndex };
    return [...closed, namedEvent("content_block_start", start)];
  }

  #closeBlock(): string[] {
    if (this.#block === undefined) return [];
    this.#block = undefined;
    return [namedEvent("content_block_stop", { type: "content_block_stop", index: this.#blockIndex++ })];
  }

  #blockDelta(delta: object): string {
    return namedEvent("content_block_delta", { type: "content_block_delta", delta, index: this.#blockIndex });
  }

  /** Anthropic counts cached tokens apart from the input; without cache details everything is input. */
  #usage(outputTokens: number, cachedTokens: number): object {
    const promptTokens = this.#settings.chat.promptIds.length;
    if (!this.#settings.options.enablePromptTokensDetails) {
      return { input_tokens: promptTokens, output_tokens: outputTokens };
    }
    return {
      input_tokens: promptTokens - cachedTokens,
      output_tokens: outputTokens,
      cache_creation_input_tokens: 0,
      cache_read_input_tokens: cachedTokens,
    };
  }
}

function stopReason({ finish }: Delta, called: boolean): StopReason {
  if (finish?.reason === "length") return { stop_reason: "max_tokens", stop_sequence: null };
  if (called) return { stop_reason: "tool_use", stop_sequence: null };
  if (typeof finish?.stopReason === "string")
    return { stop_reason: "stop_sequence", stop_sequence: finish.stopReason };
  return { stop_reason: "end_turn", stop_sequence: null };
}
