/** How vLLM writes an answer of the Responses API. */
import type { Delta } from "../engine/sequence.ts";
import type { ReplicaOptions } from "../options.ts";
import type { ChatRequest } from "./chat-request.ts";
import { type DeltaParser, parseWhole, type ToolCallDelta } from "./delta-parser.ts";
import { namedEvent, nowSeconds, randomId, type Writer } from "./plan.ts";
import type { Body } from "./validate.ts";

type Settings = {
  readonly id: string;
  readonly body: Body;
  readonly options: ReplicaOptions;
  readonly chat: ChatRequest;
  readonly noUsage: boolean;
};
/** The output item that is being written. */
type Item =
  | { readonly type: "message"; readonly id: string; text: string }
  | {
      readonly type: "function_call";
      readonly id: string;
      readonly callId: string;
      readonly name: string;
      text: string;
    };

export class ResponsesWriter implements Writer {
  readonly #settings: Settings;
  readonly #parser: DeltaParser;
  readonly #created = nowSeconds();
  readonly #done: object[] = [];
  #item: Item | undefined;
  #sequence = 0;
  #tokens = 0;
  #cachedTokens = 0;
  #incomplete = false;

  constructor(settings: Settings) {
    this.#settings = settings;
    this.#parser = settings.chat.newParser();
  }

  prelude(): string[] {
    return ["response.created", "response.in_progress"].map((type) =>
      this.#event(type, { response: this.#response("in_progress", [], null) }),
    );
  }

  begin(cachedTokens: number): string[] {
    this.#cachedTokens = cachedTokens;
    return [];
  }

  delta(delta: Delta): string[] {
    this.#tokens += delta.tokenIds.length;
    if (delta.finish?.reason === "length") this.#incomplete = true;
    const said = this.#parser.push(delta.text, delta.finish !== undefined);
    const calls = said?.tool_calls ?? [];
    return [...(said?.content ? this.#text(said.content) : []), ...calls.flatMap((call) => this.#call(call))];
  }

  end(): string[] {
    const closed = this.#close();
    const usage = this.#usage(this.#tokens, this.#cachedTokens);
    const response = this.#response(this.#incomplete ? "incomplete" : "completed", this.#done, usage);
    return [...closed, this.#event("response.completed", { response })];
  }

  /** vLLM 0.32 has no event for it: the connection breaks off. */
  failure(): undefined {
    return undefined;
  }

  body(results: readonly Delta[], cachedTokens: number): object {
    const result = results[0]!;
    const { content, call } = this.#settings.options.enableAutoToolChoice
      ? parseWhole(result.text)
      : { content: result.text, call: undefined };
    const items: Item[] = content ? [{ type: "message", id: `msg_${randomId()}`, text: content }] : [];
    if (call !== undefined) {
      const callId = `chatcmpl-tool-${randomId()}`;
      items.push({
        type: "function_call",
        id: `fc_${randomId()}`,
        callId,
        name: call.name,
        text: call.arguments,
      });
    }
    const status = result.finish?.reason === "length" ? "incomplete" : "completed";
    const usage = this.#usage(result.tokenIds.length, cachedTokens);
    const output = items.map((item) => render(item, "completed"));
    return this.#response(status, output, usage);
  }

  #text(text: string): string[] {
    const opened = this.#item?.type === "message" ? [] : this.#openMessage();
    const item = this.#item!;
    item.text += text;
    const at = {
      content_index: 0,
      delta: text,
      item_id: item.id,
      logprobs: [],
      output_index: this.#done.length,
    };
    return [...opened, this.#event("response.output_text.delta", at)];
  }

  #openMessage(): string[] {
    const closed = this.#close();
    const item: Item = { type: "message", id: `msg_${randomId()}`, text: "" };
    this.#item = item;
    const output_index = this.#done.length;
    const part = { annotations: [], text: "", type: "output_text", logprobs: [] };
    return [
      ...closed,
      this.#event("response.output_item.added", { item: render(item, "in_progress"), output_index }),
      this.#event("response.content_part.added", { content_index: 0, item_id: item.id, output_index, part }),
    ];
  }

  #call(call: ToolCallDelta): string[] {
    const { name, arguments: added } = call.function;
    if (name !== undefined) {
      const closed = this.#close();
      this.#item = { type: "function_call", id: `fc_${randomId()}`, callId: call.id!, name, text: "" };
      const item = render(this.#item, "in_progress");
      return [
        ...closed,
        this.#event("response.output_item.added", { item, output_index: this.#done.length }),
      ];
    }
    this.#item!.text += added!;
    const at = { delta: added, item_id: this.#item!.id, output_index: this.#done.length };
    return [this.#event("response.function_call_arguments.delta", at)];
  }

  #close(): string[] {
    const item = this.#item;
    if (item === undefined) return [];
    this.#item = undefined;
    const output_index = this.#done.length;
    const rendered = render(item, "completed");
    this.#done.push(rendered);
    const last = () => this.#event("response.output_item.done", { item: rendered, output_index });
    if (item.type === "function_call") {
      const end = { arguments: item.text, item_id: item.id, output_index };
      // vLLM puts the name behind the type.
      return [this.#event("response.function_call_arguments.done", end, { name: item.name }), last()];
    }
    const at = { content_index: 0, item_id: item.id };
    return [
      this.#event(
        "response.output_text.done",
        { ...at, logprobs: [], output_index },
        {},
        { text: item.text },
      ),
      this.#event("response.content_part.done", { ...at, output_index, part: textPart(item.text) }),
      last(),
    ];
  }

  /** Keys in vLLM's order: `fields`, the sequence number, `middle`, the type, `last`. */
  #event(type: string, fields: object, last: object = {}, middle: object = {}): string {
    return namedEvent(type, { ...fields, sequence_number: this.#sequence++, ...middle, type, ...last });
  }

  #usage(outputTokens: number, cachedTokens: number): object | null {
    if (this.#settings.noUsage) return null;
    const inputTokens = this.#settings.chat.promptIds.length;
    return {
      input_tokens: inputTokens,
      input_tokens_details: {
        cached_tokens: cachedTokens,
        cache_write_tokens: 0,
        input_tokens_per_turn: [],
        cached_tokens_per_turn: [],
      },
      output_tokens: outputTokens,
      output_tokens_details: {
        reasoning_tokens: 0,
        tool_output_tokens: 0,
        output_tokens_per_turn: [],
        tool_output_tokens_per_turn: [],
      },
      total_tokens: inputTokens + outputTokens,
    };
  }

  #response(status: string, output: readonly object[], usage: object | null): object {
    const { id, body, options, chat } = this.#settings;
    const tools = (body.tools ?? []) as Body[];
    return {
      id,
      created_at: this.#created,
      incomplete_details: status === "incomplete" ? { reason: "max_output_tokens" } : null,
      instructions: body.instructions ?? null,
      metadata: body.metadata ?? null,
      model: options.model,
      object: "response",
      output,
      parallel_tool_calls: body.parallel_tool_calls ?? true,
      temperature: body.temperature ?? 1,
      tool_choice: tools.length === 0 ? "none" : (body.tool_choice ?? "auto"),
      tools: tools.map(renderTool),
      top_p: body.top_p ?? 1,
      background: false,
      max_output_tokens: chat.maxTokens,
      max_tool_calls: null,
      previous_response_id: null,
      prompt: null,
      reasoning: body.reasoning ?? null,
      service_tier: body.service_tier ?? "auto",
      status,
      text: body.text ?? null,
      top_logprobs: null,
      truncation: body.truncation ?? "disabled",
      usage,
      user: body.user ?? null,
      presence_penalty: body.presence_penalty ?? 0,
      frequency_penalty: body.frequency_penalty ?? 0,
      kv_transfer_params: null,
      ec_transfer_params: null,
      input_messages: null,
      output_messages: null,
    };
  }
}

function textPart(text: string): object {
  return { annotations: [], text, type: "output_text", logprobs: null };
}

function render(item: Item, status: "in_progress" | "completed"): object {
  if (item.type === "message") {
    const content = status === "completed" ? [textPart(item.text)] : [];
    return { id: item.id, content, role: "assistant", status, type: "message", phase: null };
  }
  return {
    arguments: item.text,
    call_id: item.callId,
    name: item.name,
    type: "function_call",
    id: item.id,
    async: null,
    caller: null,
    namespace: null,
    status,
  };
}

function renderTool(tool: Body): object {
  return {
    name: tool.name,
    parameters: tool.parameters ?? null,
    strict: tool.strict ?? null,
    type: "function",
    allowed_callers: null,
    async: null,
    defer_loading: null,
    description: tool.description ?? null,
    output_schema: null,
  };
}
