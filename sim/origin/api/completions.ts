/** POST /v1/completions: parsing and writing. */
import type { Delta, TokenLogprob } from "../engine/sequence.ts";
import { ProseSpeaker } from "../model/language.ts";
import { decode } from "../model/tokenizer.ts";
import type { ReplicaOptions } from "../options.ts";
import { badRequest, pythonJson } from "./errors.ts";
import { readInputs } from "./inputs.ts";
import {
  DONE_EVENT,
  dataEvent,
  nowSeconds,
  type Plan,
  randomId,
  systemFingerprint,
  type Writer,
} from "./plan.ts";
import { type CommonFields, checkLengths, readCommon, readSampling } from "./sampling.ts";
import { chunkUsage, finalUsage, fullUsage } from "./usage.ts";
import { type Body, optional } from "./validate.ts";

const DEFAULT_MAX_TOKENS = 16;

/** Reads a request; `requestId` is the client's `X-Request-Id`. Throws `ApiError`. */
export function planCompletion(body: Body, requestId: string | undefined, options: ReplicaOptions): Plan {
  const common = readCommon(body);
  const prompts = readPrompts(body.prompt);
  const asked = optional.integer(body, "max_tokens") ?? DEFAULT_MAX_TOKENS;
  const logprobs = optional.integer(body, "logprobs");
  const echo = optional.boolean(body, "echo") ?? false;
  const id = `cmpl-${requestId ?? optional.string(body, "request_id") ?? randomId()}`;
  const choices = prompts.flatMap((promptIds, promptIndex) => {
    checkLengths(promptIds.length, { name: "max_tokens", tokens: asked }, options.maxModelLen);
    const maxTokens = Math.min(asked, options.maxModelLen - promptIds.length);
    // With `echo` and no token wanted vLLM computes one and shows the prompt alone.
    const sampling = readSampling(body, echo && maxTokens === 0 ? 1 : maxTokens, logprobs, common.n);
    return Array.from({ length: common.n }, (_, choice) => ({
      index: promptIndex * common.n + choice,
      promptIds,
      sampling,
      speaker: () => new ProseSpeaker(promptIds, choice),
    }));
  });
  return {
    id,
    choices,
    promptTokens: prompts.reduce((sum, prompt) => sum + prompt.length, 0),
    stream: common.stream,
    keepAlive: true,
    errorShape: "openai",
    cacheSalt: common.cacheSalt,
    priority: options.priorityScheduling ? common.priority : 0,
    streamInterval: Math.max(common.streamInterval ?? 1, options.streamInterval),
    writer: (noUsage) =>
      new CompletionWriter({ id, prompts, common, options, echo, promptOnly: echo && asked === 0, noUsage }),
  };
}

function readPrompts(prompt: unknown): number[][] {
  if (prompt === undefined || prompt === null || prompt === "") {
    throw badRequest("Either prompt or prompt_embeds must be provided and non-empty.", "prompt");
  }
  return readInputs(prompt, "prompt");
}

type CompletionSettings = {
  readonly id: string;
  readonly prompts: readonly (readonly number[])[];
  readonly common: CommonFields;
  readonly options: ReplicaOptions;
  readonly echo: boolean;
  /** `echo` with `max_tokens: 0`: the one token that is computed is not shown. */
  readonly promptOnly: boolean;
  readonly noUsage: boolean;
};

class CompletionWriter implements Writer {
  readonly #settings: CompletionSettings;
  readonly #created = nowSeconds();
  readonly #tokens: number[];
  /** Where the next token's text starts, per choice, for `text_offset`. */
  readonly #offsets: number[];
  #cachedTokens = 0;

  constructor(settings: CompletionSettings) {
    this.#settings = settings;
    const choices = settings.prompts.length * settings.common.n;
    this.#tokens = new Array(choices).fill(0);
    this.#offsets = new Array(choices).fill(0);
  }

  begin(cachedTokens: number): string[] {
    this.#cachedTokens = cachedTokens;
    return [];
  }

  delta(delta: Delta): string[] {
    const { id, common, options } = this.#settings;
    const { index, finish } = delta;
    const first = this.#tokens[index] === 0;
    const prompt = this.#promptOf(index);
    const logprobs = this.#logprobs(delta);
    this.#tokens[index]! += delta.tokenIds.length;
    const chunk = {
      id,
      object: "text_completion",
      created: this.#created,
      model: options.model,
      choices: [
        {
          index,
          text: (first ? this.#echoOf(index) : "") + this.#textOf(delta),
          logprobs,
          finish_reason: finish?.reason ?? null,
          stop_reason: finish?.stopReason ?? null,
          prompt_token_ids: common.returnTokenIds && first ? prompt : null,
          token_ids: common.returnTokenIds ? delta.tokenIds : null,
        },
      ],
      ...(this.#continuousUsage ? { usage: chunkUsage(prompt.length, this.#tokens[index]!) } : {}),
      ...(!this.#includeUsage && finish !== undefined
        ? { system_fingerprint: systemFingerprint(options) }
        : {}),
    };
    return [dataEvent(chunk)];
  }

  end(): string[] {
    if (!this.#includeUsage) return [DONE_EVENT];
    const { id, options } = this.#settings;
    const usage = finalUsage(this.#promptTokens, sum(this.#tokens), this.#details(this.#cachedTokens));
    const chunk = {
      id,
      object: "text_completion",
      created: this.#created,
      model: options.model,
      choices: [],
      usage,
      system_fingerprint: systemFingerprint(options),
    };
    return [dataEvent(chunk), DONE_EVENT];
  }

  failure(error: object): string[] {
    return [`data: ${pythonJson(error)}\n\n`, DONE_EVENT];
  }

  body(results: readonly Delta[], cachedTokens: number): object {
    const { id, options, common } = this.#settings;
    const completion = sum(results.map((result) => result.tokenIds.length));
    return {
      id,
      object: "text_completion",
      created: this.#created,
      model: options.model,
      choices: results.map((result) => ({
        index: result.index,
        text: this.#echoOf(result.index) + this.#textOf(result),
        logprobs: this.#logprobs(result),
        finish_reason: result.finish?.reason ?? null,
        stop_reason: result.finish?.stopReason ?? null,
        token_ids: common.returnTokenIds ? result.tokenIds : null,
        prompt_logprobs: null,
        prompt_token_ids: common.returnTokenIds ? this.#promptOf(result.index) : null,
        routed_experts: null,
      })),
      service_tier: null,
      system_fingerprint: systemFingerprint(options),
      usage: fullUsage(this.#promptTokens, completion, this.#details(cachedTokens)),
      kv_transfer_params: null,
      ec_transfer_params: null,
      metrics: null,
    };
  }

  get #includeUsage(): boolean {
    const { noUsage, common, options } = this.#settings;
    return !noUsage && (common.includeUsage || options.enableForceIncludeUsage);
  }

  get #continuousUsage(): boolean {
    const { noUsage, common, options } = this.#settings;
    return !noUsage && (common.continuousUsage || options.enableForceIncludeUsage);
  }

  get #promptTokens(): number {
    return sum(this.#settings.prompts.map((prompt) => prompt.length));
  }

  #promptOf(index: number): readonly number[] {
    return this.#settings.prompts[Math.floor(index / this.#settings.common.n)]!;
  }

  #textOf(delta: Delta): string {
    return this.#settings.promptOnly ? "" : delta.text;
  }

  #echoOf(index: number): string {
    // vLLM echoes ids or text, not both.
    const { echo, common } = this.#settings;
    return echo && !common.returnTokenIds ? decode(this.#promptOf(index)) : "";
  }

  #details(cachedTokens: number): object | null {
    return this.#settings.options.enablePromptTokensDetails ? { cached_tokens: cachedTokens } : null;
  }

  #logprobs(delta: Delta): object | null {
    if (delta.logprobs === undefined) return null;
    let offset = this.#offsets[delta.index]!;
    const offsets = delta.logprobs.map(({ token }) => {
      const at = offset;
      offset += token.length;
      return at;
    });
    this.#offsets[delta.index] = offset;
    return completionLogprobs(delta.logprobs, offsets);
  }
}

function completionLogprobs(tokens: readonly TokenLogprob[], offsets: readonly number[]): object {
  return {
    text_offset: offsets,
    token_logprobs: tokens.map(({ logprob }) => logprob),
    tokens: tokens.map(({ token }) => token),
    top_logprobs: tokens.map((token) =>
      Object.fromEntries([token, ...token.top].map(({ token: text, logprob }) => [text, logprob])),
    ),
  };
}

function sum(numbers: readonly number[]): number {
  return numbers.reduce((total, number) => total + number, 0);
}
