/** How vLLM writes a chat answer: chunks, usage, logprobs. Key order and nulls are vLLM's. */
import type { Delta, TokenLogprob } from "../engine/sequence.ts";
import type { ReplicaOptions } from "../options.ts";
import type { ChatRequest } from "./chat-request.ts";
import { type DeltaParser, parseWhole } from "./delta-parser.ts";
import { pythonJson } from "./errors.ts";
import { DONE_EVENT, dataEvent, nowSeconds, randomId, systemFingerprint, type Writer } from "./plan.ts";
import { cacheDetails, chatChunkUsage, finalUsage, fullUsage } from "./usage.ts";

export type ChatWriterSettings = {
  readonly id: string;
  readonly options: ReplicaOptions;
  readonly chat: ChatRequest;
  /** The last message's text, repeated before the answer; empty: no echo. */
  readonly echo: string;
  readonly includeUsage: boolean;
  readonly continuousUsage: boolean;
};

type ChunkChoice = { index: number; finish_reason: string | null; [field: string]: unknown };

export class ChatWriter implements Writer {
  readonly #settings: ChatWriterSettings;
  readonly #created = nowSeconds();
  readonly #fingerprint: string;
  readonly #promptIds: readonly number[];
  readonly #tokens: number[];
  readonly #parsers: readonly DeltaParser[];
  #cachedTokens = 0;

  constructor(settings: ChatWriterSettings) {
    this.#settings = settings;
    this.#fingerprint = systemFingerprint(settings.options);
    this.#promptIds = settings.chat.promptIds;
    this.#tokens = settings.chat.choices.map(() => 0);
    this.#parsers = settings.chat.choices.map(() => settings.chat.newParser());
  }

  begin(cachedTokens: number): string[] {
    this.#cachedTokens = cachedTokens;
    const { echo, chat } = this.#settings;
    const prompt = {
      prompt_token_ids: chat.common.returnTokenIds ? this.#promptIds : null,
      prompt_text: null,
    };
    const bare = { logprobs: null, finish_reason: null };
    const indexes = this.#tokens.map((_, index) => index);
    const roles = indexes.map((index) =>
      this.#chunk({ index, delta: { role: chat.role, content: "" }, ...bare }, prompt),
    );
    if (echo === "") return roles;
    return [...roles, ...indexes.map((index) => this.#chunk({ index, delta: { content: echo }, ...bare }))];
  }

  delta(delta: Delta): string[] {
    const { index, finish } = delta;
    const { returnTokenIds } = this.#settings.chat.common;
    this.#tokens[index]! += delta.tokenIds.length;
    const parser = this.#parsers[index]!;
    const message = parser.push(delta.text, finish !== undefined);
    // A delta that says nothing makes a frame only to carry ids or log probabilities.
    if (message === undefined && !returnTokenIds && delta.logprobs === undefined) return [];
    const choice = {
      index,
      delta: message ?? {},
      logprobs: chatLogprobs(delta.logprobs),
      finish_reason: finish === undefined ? null : this.#finishReason(finish.reason, parser.called),
      ...(finish === undefined ? {} : { stop_reason: finish.stopReason }),
      token_ids: returnTokenIds ? delta.tokenIds : null,
    };
    return [this.#chunk(choice)];
  }

  end(): string[] {
    if (!this.#settings.includeUsage) return [DONE_EVENT];
    const completion = this.#tokens.reduce((sum, tokens) => sum + tokens, 0);
    const usage = finalUsage(this.#promptIds.length, completion, this.#details(this.#cachedTokens));
    return [
      dataEvent({ ...this.#head(), choices: [], usage, system_fingerprint: this.#fingerprint }),
      DONE_EVENT,
    ];
  }

  failure(error: object): string[] {
    return [`data: ${pythonJson(error)}\n\n`, DONE_EVENT];
  }

  body(results: readonly Delta[], cachedTokens: number): object {
    const { id, options, chat } = this.#settings;
    const { returnTokenIds } = chat.common;
    const completion = results.reduce((sum, result) => sum + result.tokenIds.length, 0);
    return {
      id,
      object: "chat.completion",
      created: this.#created,
      model: options.model,
      choices: results.map((result) => this.#fullChoice(result)),
      service_tier: null,
      system_fingerprint: this.#fingerprint,
      usage: fullUsage(this.#promptIds.length, completion, this.#details(cachedTokens)),
      prompt_logprobs: null,
      prompt_token_ids: returnTokenIds ? this.#promptIds : null,
      prompt_text: null,
      kv_transfer_params: null,
      ec_transfer_params: null,
      metrics: null,
    };
  }

  #fullChoice(result: Delta): object {
    const { chat, echo, options } = this.#settings;
    const parsed = options.enableAutoToolChoice
      ? parseWhole(result.text)
      : { content: result.text, call: undefined };
    const forced = chat.tools.choice === "required" || chat.tools.choice === "named";
    const call = parsed.call && {
      id: `chatcmpl-tool-${randomId()}`,
      type: "function",
      function: parsed.call,
    };
    return {
      index: result.index,
      message: {
        role: chat.role,
        content: forced || echo !== "" ? echo + (parsed.content ?? "") : parsed.content,
        refusal: null,
        annotations: null,
        audio: null,
        function_call: null,
        ...(call === undefined ? {} : { tool_calls: [call] }),
        reasoning: null,
      },
      logprobs: chatLogprobs(result.logprobs),
      finish_reason: this.#finishReason(result.finish?.reason ?? "stop", call !== undefined),
      stop_reason: result.finish?.stopReason ?? null,
      token_ids: chat.common.returnTokenIds ? result.tokenIds : null,
      routed_experts: null,
    };
  }

  /** "tool_calls", except where the request named the function: then OpenAI says "stop". */
  #finishReason(reason: string, called: boolean): string {
    return called && reason === "stop" && this.#settings.chat.tools.choice !== "named"
      ? "tool_calls"
      : reason;
  }

  #chunk(choice: ChunkChoice, prompt: object = {}): string {
    const { includeUsage, continuousUsage } = this.#settings;
    const isLast = !includeUsage && choice.finish_reason !== null;
    const usage = chatChunkUsage(this.#promptIds.length, this.#tokens[choice.index]!);
    return dataEvent({
      ...this.#head(),
      choices: [choice],
      ...(continuousUsage ? { usage } : {}),
      ...(isLast ? { system_fingerprint: this.#fingerprint } : {}),
      ...prompt,
    });
  }

  #head(): object {
    const { id, options } = this.#settings;
    return { id, object: "chat.completion.chunk", created: this.#created, model: options.model };
  }

  #details(cachedTokens: number): object | null {
    return this.#settings.options.enablePromptTokensDetails ? cacheDetails(cachedTokens) : null;
  }
}

/** Log probabilities in the chat API's shape. */
export function chatLogprobs(tokens: readonly TokenLogprob[] | undefined): object | null {
  if (tokens === undefined) return null;
  const shape = ({ token, logprob }: { token: string; logprob: number }) => ({
    token,
    logprob,
    bytes: [...new TextEncoder().encode(token)],
  });
  return { content: tokens.map((token) => ({ ...shape(token), top_logprobs: token.top.map(shape) })) };
}
