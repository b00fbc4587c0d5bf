/** Fields that chat and text completions share: types, ranges, and vLLM's words for what is wrong. */
import type { Sampling } from "../engine/sequence.ts";
import { badRequest } from "./errors.ts";
import { type Body, optional } from "./validate.ts";

const MAX_LOGPROBS = 20;
const MAX_SALT_CHARS = 128;

export type CommonFields = {
  readonly n: number;
  readonly stream: boolean;
  readonly includeUsage: boolean;
  readonly continuousUsage: boolean;
  readonly returnTokenIds: boolean;
  readonly priority: number;
  readonly cacheSalt: string | undefined;
  readonly streamInterval: number | undefined;
};

/** Checks that pydantic makes before and while it builds the request. */
export function readCommon(body: Body): CommonFields {
  checkCacheSalt(body.cache_salt);
  const stream = optional.boolean(body, "stream") ?? false;
  if (truthy(body.stream_options) && !stream) {
    throw badRequest("Stream options can only be defined when `stream=True`.", "stream_options");
  }
  const options = (optional.record(body, "stream_options") ?? {}) as Body;
  const includeUsage = optional.boolean(options, "include_usage") ?? false;
  return {
    n: optional.integer(body, "n") ?? 1,
    stream,
    includeUsage,
    continuousUsage: includeUsage && (optional.boolean(options, "continuous_usage_stats") ?? false),
    returnTokenIds: optional.boolean(body, "return_token_ids") ?? false,
    priority: optional.integer(body, "priority") ?? 0,
    cacheSalt: optional.string(body, "cache_salt"),
    streamInterval: optional.integer(body, "stream_interval"),
  };
}

function truthy(value: unknown): boolean {
  return Boolean(value) && !(typeof value === "object" && Object.keys(value!).length === 0);
}

function checkCacheSalt(salt: unknown): void {
  if (salt === undefined || salt === null) return;
  if (typeof salt !== "string" || salt === "") {
    throw badRequest("Parameter 'cache_salt' must be a non-empty string if provided.", "cache_salt");
  }
  if (salt.length > MAX_SALT_CHARS || /[@/\\\0]/.test(salt)) {
    throw badRequest(
      "Parameter 'cache_salt' must be at most 128 characters and must not contain '@', '/', '\\\\', or NUL.",
      "cache_salt",
    );
  }
}

/** Length limits of a request whose prompt is known. `limit.name` is the field that the client used. */
export function checkLengths(
  promptTokens: number,
  limit: { name: string; tokens: number | undefined },
  maxModelLen: number,
): void {
  if (limit.tokens !== undefined && limit.tokens > maxModelLen) {
    throw badRequest(
      `${limit.name}=${limit.tokens} cannot be greater than max_model_len=${maxModelLen}. Please request fewer output tokens.`,
      limit.name,
      limit.tokens,
    );
  }
  if (promptTokens === 0) throw badRequest("The decoder prompt cannot be empty");
  if (promptTokens <= maxModelLen) return;
  // The tokenizer stops one token past the limit, so the true length is not known there.
  const counted = `at least ${maxModelLen + 1}`;
  throw badRequest(
    `This model's maximum context length is ${maxModelLen} tokens. However, your prompt contains ${counted} input ` +
      "tokens, which exceeds this limit even without any output tokens. Please reduce the length of the input prompt.",
    "input_tokens",
    maxModelLen + 1,
  );
}

/** vLLM's SamplingParams checks, in its order. `maxTokens` is already clamped to the context. */
export function readSampling(
  body: Body,
  maxTokens: number,
  logprobs: number | undefined,
  n: number,
): Sampling {
  const temperature = optional.number(body, "temperature");
  checkPositiveCount(n);
  range(optional.number(body, "presence_penalty"), -2, 2, "presence_penalty");
  range(optional.number(body, "frequency_penalty"), -2, 2, "frequency_penalty");
  const repetition = optional.number(body, "repetition_penalty");
  if (repetition !== undefined && repetition <= 0) {
    throw badRequest(`repetition_penalty must be greater than zero, got ${pythonFloat(repetition)}.`);
  }
  if (temperature !== undefined && temperature < 0) {
    throw badRequest(
      `temperature must be non-negative, got ${pythonFloat(temperature)}.`,
      "temperature",
      pythonFloat(temperature),
    );
  }
  if (temperature !== undefined && temperature > 2) {
    throw badRequest(
      `temperature must be in [0, 2], got ${pythonFloat(temperature)}.`,
      "temperature",
      pythonFloat(temperature),
    );
  }
  const topP = optional.number(body, "top_p");
  if (topP !== undefined && !(topP > 0 && topP <= 1)) {
    throw badRequest(`top_p must be in (0, 1], got ${pythonFloat(topP)}.`, "top_p", pythonFloat(topP));
  }
  const topK = optional.integer(body, "top_k");
  if (topK !== undefined && topK < -1)
    throw badRequest(`top_k must be 0 (disable), or at least 1, got ${topK}.`);
  const minP = optional.number(body, "min_p");
  if (minP !== undefined && !(minP >= 0 && minP <= 1)) {
    throw badRequest(`min_p must be in [0, 1], got ${pythonFloat(minP)}.`);
  }
  if (maxTokens < 1)
    throw badRequest(`max_tokens must be at least 1, got ${maxTokens}.`, "max_tokens", maxTokens);
  const minTokens = optional.integer(body, "min_tokens") ?? 0;
  if (minTokens < 0) throw badRequest(`min_tokens must be greater than or equal to 0, got ${minTokens}.`);
  if (minTokens > maxTokens) {
    throw badRequest(`min_tokens must be less than or equal to max_tokens=${maxTokens}, got ${minTokens}.`);
  }
  if (logprobs !== undefined && logprobs > MAX_LOGPROBS) {
    throw badRequest(
      `Requested sample logprobs of ${logprobs}, which is greater than max allowed: ${MAX_LOGPROBS}`,
      "logprobs",
      logprobs,
    );
  }
  const stop = readStop(body);
  if (stop.includes("")) throw badRequest("stop cannot contain an empty string.");
  if (temperature === 0 && n > 1) throw badRequest(`n must be 1 when using greedy sampling, got ${n}.`);
  return {
    maxTokens,
    minTokens,
    stop,
    stopTokenIds: (optional.list(body, "stop_token_ids") ?? []) as number[],
    ignoreEos: optional.boolean(body, "ignore_eos") ?? false,
    includeStop: optional.boolean(body, "include_stop_str_in_output") ?? false,
    logprobs,
  };
}

function readStop(body: Body): string[] {
  const stop = body.stop ?? [];
  const words: unknown[] = typeof stop === "string" ? [stop] : (optional.list(body, "stop") ?? []);
  for (const word of words) optional.string({ stop: word }, "stop");
  return words as string[];
}

function checkPositiveCount(n: number): void {
  if (n < 1) throw badRequest(`n must be at least 1, got ${n}.`);
  const most = 16_384;
  if (n > most) {
    throw badRequest(
      `n must be at most ${most}, got ${n}. To increase this limit, set the VLLM_MAX_N_SEQUENCES environment variable.`,
    );
  }
}

function range(value: number | undefined, least: number, most: number, name: string): void {
  if (value === undefined || (value >= least && value <= most)) return;
  throw badRequest(`${name} must be in [${least}, ${most}], got ${pythonFloat(value)}.`);
}

/** Python prints a float with a point. */
function pythonFloat(value: number): string {
  return Number.isInteger(value) ? value.toFixed(1) : String(value);
}
