import { z } from "zod";
import {
  CHOICES_MAX,
  MODEL_NAME_MAX_CHARS,
  OUTPUT_TOKENS_MAX,
  STOP_STRING_MAX_CHARS,
  STOP_STRINGS_MAX,
  TOP_LOGPROBS_MAX,
  USER_ID_MAX_CHARS,
} from "../bounds.ts";
import type { JsonObject } from "./endpoint.ts";
import { freeJson, freeObject, isJsonObject, list, refusedUnless, tokenIds } from "./schema.ts";

/** Fields that several endpoints share. All but the required ones may be null, which means absent. */

export const text = z.string();
export const modelName = z.string().min(1).max(MODEL_NAME_MAX_CHARS);
export const name = z.string().min(1).max(256);
export const flag = z.boolean().nullish();
export const integer = (least: number, most: number) => z.int().min(least).max(most).nullish();
export const decimal = (least: number, most: number) => z.number().min(least).max(most).nullish();
export const outputTokens = integer(1, OUTPUT_TOKENS_MAX);
/** Counts only while true or absent; the reason is told otherwise. */
export const onlyFalse = (why: string) => refusedUnless(z.boolean(), (value) => !value, why).nullish();

const LOGIT_BIASES_MAX = 1_024;
const STOP_TOKENS_MAX = 256;
const METADATA_MAX = 64;

export const stopStrings = z
  .union([
    z.string().max(STOP_STRING_MAX_CHARS),
    list(z.string().max(STOP_STRING_MAX_CHARS), STOP_STRINGS_MAX),
  ])
  .nullish();

const logitBias = z
  .custom<JsonObject>(
    isLogitBias,
    `expected at most ${LOGIT_BIASES_MAX} token ids with a bias of -100 to 100`,
  )
  .nullish();

function isLogitBias(value: unknown): boolean {
  if (!isJsonObject(value)) return false;
  const entries = Object.entries(value);
  if (entries.length > LOGIT_BIASES_MAX) return false;
  return entries.every(
    ([id, bias]) => /^\d{1,9}$/.test(id) && typeof bias === "number" && bias >= -100 && bias <= 100,
  );
}

/** What steers sampling. Those of vLLM's own that only shape this request's output are in. */
export const sampling = {
  temperature: decimal(0, 2),
  top_p: decimal(0, 1),
  top_k: integer(-1, 1_000_000),
  min_p: decimal(0, 1),
  repetition_penalty: z.number().gt(0).max(2).nullish(),
  frequency_penalty: decimal(-2, 2),
  presence_penalty: decimal(-2, 2),
  seed: z.int().nullish(),
  stop: stopStrings,
  stop_token_ids: tokenIds(STOP_TOKENS_MAX).nullish(),
  min_tokens: integer(0, OUTPUT_TOKENS_MAX),
  logit_bias: logitBias,
  include_stop_str_in_output: flag,
  skip_special_tokens: flag,
  spaces_between_special_tokens: flag,
};

/** For endpoints that read long texts and generate nothing, where a text cut by the engine is what is wanted. */
export const truncation = {
  truncate_prompt_tokens: integer(-1, OUTPUT_TOKENS_MAX),
  truncation_side: z.enum(["left", "right"]).nullish(),
};

export const choices = integer(1, CHOICES_MAX);
export const topLogprobs = integer(0, TOP_LOGPROBS_MAX);
export const userId = z.string().max(USER_ID_MAX_CHARS).nullish();

export const streamOptions = z
  .strictObject({
    include_usage: flag,
    continuous_usage_stats: flag,
    /** OpenAI pads its frames against traffic analysis; engines do not. */
    include_obfuscation: flag,
  })
  .nullish();

export const responseFormat = z
  .discriminatedUnion("type", [
    z.strictObject({ type: z.literal("text") }),
    z.strictObject({ type: z.literal("json_object") }),
    z.strictObject({
      type: z.literal("json_schema"),
      json_schema: z.strictObject({
        name,
        description: text.nullish(),
        schema: freeObject.nullish(),
        strict: flag,
      }),
    }),
  ])
  .nullish();

/** OpenAI's own that an engine has no use for: who asks, what is stored, what it costs. */
export const openaiStripped = {
  user: userId,
  safety_identifier: userId,
  metadata: z
    .custom<JsonObject>(
      isMetadata,
      `expected at most ${METADATA_MAX} names with text of at most 512 characters`,
    )
    .nullish(),
  store: flag,
  service_tier: z.string().max(64).nullish(),
  prompt_cache_key: z.string().max(1_024).nullish(),
  prompt_cache_retention: z.string().max(64).nullish(),
  prompt_cache_options: freeJson.nullish(),
};

function isMetadata(value: unknown): boolean {
  if (!isJsonObject(value)) return false;
  const texts = Object.values(value);
  return texts.length <= METADATA_MAX && texts.every((one) => typeof one === "string" && one.length <= 512);
}

const ENGINE_ONLY = "it steers the engine beyond the API.";
const TEMPLATE = "the model's own chat template is used as it is.";
const MEDIA_KNOBS = "it changes how much work the engine does for media.";
const ROUTER_SETS = "the router sets it.";
const INTERNALS = "it shows the engine's internals.";
const GUIDED = "use 'response_format' with a JSON schema.";

/** What vLLM 0.32 would act on, or once did, on any endpoint. */
export const engineForbidden: Readonly<Record<string, string>> = {
  chat_template: TEMPLATE,
  chat_template_kwargs: TEMPLATE,
  add_generation_prompt: TEMPLATE,
  continue_final_message: TEMPLATE,
  documents: "put the documents into a message.",
  echo: "the prompt is not sent back here.",
  mm_processor_kwargs: MEDIA_KNOBS,
  media_io_kwargs: MEDIA_KNOBS,
  mm_payload: MEDIA_KNOBS,
  return_mm_kwargs: MEDIA_KNOBS,
  kv_transfer_params: ENGINE_ONLY,
  ec_transfer_params: ENGINE_ONLY,
  vllm_xargs: ENGINE_ONLY,
  logits_processors: ENGINE_ONLY,
  logits_processor: ENGINE_ONLY,
  cache_salt: ROUTER_SETS,
  priority: ROUTER_SETS,
  request_id: ROUTER_SETS,
  session_id: ROUTER_SETS,
  stream_interval: ROUTER_SETS,
  ignore_eos: "a model that may not stop wastes what others wait for.",
  prompt_logprobs: "it makes the engine compute the whole prompt again, past its cache.",
  logprob_token_ids: INTERNALS,
  return_token_ids: INTERNALS,
  return_tokens_as_token_ids: INTERNALS,
  return_token_offsets: INTERNALS,
  return_prompt_text: INTERNALS,
  routed_experts_prompt_start: INTERNALS,
  bad_words: "use 'logit_bias'.",
  allowed_token_ids: "use 'logit_bias' or 'response_format'.",
  repetition_detection: ENGINE_ONLY,
  watermarking: ENGINE_ONLY,
  use_beam_search: "beam search runs many sequences for one answer.",
  length_penalty: "it belongs to beam search.",
  early_stopping: "it belongs to beam search.",
  truncate_prompt_tokens: "shorten the prompt yourself: cut by the engine it loses its instructions.",
  truncation_side: "shorten the prompt yourself: cut by the engine it loses its instructions.",
  prompt_embeds: "send text or token ids.",
  use_audio_in_video: MEDIA_KNOBS,
  structured_outputs: GUIDED,
  "guided_*": GUIDED,
};
