import type { JsonObject } from "../../../src/engine/endpoint.ts";
import { chatFields } from "../../../src/engine/endpoints/chat.ts";
import { completionsFields } from "../../../src/engine/endpoints/completions.ts";
import { embeddingsFields } from "../../../src/engine/endpoints/embeddings.ts";
import { messagesFields } from "../../../src/engine/endpoints/messages.ts";
import { rerankFields } from "../../../src/engine/endpoints/rerank.ts";
import { responsesFields } from "../../../src/engine/endpoints/responses.ts";
import { scoreFields } from "../../../src/engine/endpoints/score.ts";
import { tokenizeFields } from "../../../src/engine/endpoints/tokenize.ts";
import type { RequestFields } from "../../../src/engine/schema.ts";

/** For each endpoint the least that it takes, and a good value for every other field that it knows. */
export interface Sample {
  readonly path: string;
  readonly fields: RequestFields;
  readonly least: JsonObject;
  readonly more: JsonObject;
}

export const PIXEL =
  "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==";

const FUNCTION = { name: "f", description: "does", parameters: { type: "object" }, strict: true };

const sampling: JsonObject = {
  temperature: 0.5,
  top_p: 0.9,
  top_k: -1,
  min_p: 0.1,
  repetition_penalty: 1.1,
  frequency_penalty: -2,
  presence_penalty: 2,
  seed: -7,
  stop: ["a", "b"],
  stop_token_ids: [1, 2],
  logit_bias: { "50256": -100 },
  include_stop_str_in_output: true,
  skip_special_tokens: false,
};

const stripped: JsonObject = {
  user: "u",
  safety_identifier: "s",
  metadata: { user_id: "m", trace: "t" },
  store: true,
  service_tier: "auto",
  prompt_cache_key: "k",
  prompt_cache_retention: "24h",
  prompt_cache_options: { mode: "x" },
};

const json_schema = { name: "n", schema: { type: "object" }, strict: true };
const streaming = { stream: true, stream_options: { include_usage: true, include_obfuscation: false } };
const reading = { truncate_prompt_tokens: -1, truncation_side: "left" };
const scoring = { ...reading, max_tokens_per_query: 3, max_tokens_per_doc: 0, instruction: "judge" };

const chatMessages = [
  { role: "system", content: "be" },
  { role: "developer", content: [{ type: "text", text: "brief" }] },
  {
    role: "user",
    name: "bob",
    content: [
      { type: "text", text: "look" },
      { type: "image_url", image_url: { url: PIXEL, detail: "low" } },
      { type: "input_audio", input_audio: { data: "AAAA", format: "wav" } },
      { type: "audio_url", audio_url: { url: "data:audio/mpeg;base64,AAAA" } },
      { type: "video_url", video_url: { url: "data:video/mp4;base64,AAAA" } },
    ],
  },
  {
    role: "assistant",
    content: null,
    refusal: null,
    annotations: null,
    audio: null,
    function_call: null,
    reasoning: "hm",
    tool_calls: [{ id: "c1", type: "function", index: 0, function: { name: "f", arguments: "{}" } }],
  },
  { role: "tool", tool_call_id: "c1", content: [{ type: "text", text: "done" }] },
];

const anthropicMessages = [
  {
    role: "user",
    content: [
      { type: "text", text: "look", cache_control: { type: "ephemeral" } },
      { type: "image", source: { type: "base64", media_type: "image/png", data: PIXEL.split(",")[1] } },
      { type: "image", source: { type: "url", url: PIXEL } },
    ],
  },
  { role: "system", content: "remember" },
  {
    role: "assistant",
    content: [
      { type: "thinking", thinking: "hm", signature: "s" },
      { type: "redacted_thinking", data: "x" },
      { type: "tool_use", id: "t1", name: "f", input: { a: 1 } },
    ],
  },
  {
    role: "user",
    content: [
      { type: "tool_result", tool_use_id: "t1", content: [{ type: "text", text: "ok" }], is_error: false },
    ],
  },
];

const responsesItems = [
  { role: "developer", content: "be brief" },
  {
    type: "message",
    role: "user",
    content: [
      { type: "input_text", text: "look" },
      { type: "input_image", image_url: PIXEL, detail: "auto" },
      { type: "input_audio", input_audio: { data: "AAAA", format: "mp3" } },
    ],
  },
  {
    type: "reasoning",
    id: "rs_1",
    summary: [],
    content: [{ type: "reasoning_text", text: "hm" }],
    status: null,
  },
  {
    type: "message",
    id: "msg_1",
    role: "assistant",
    status: "completed",
    phase: null,
    content: [{ type: "output_text", text: "so", annotations: [], logprobs: null }],
  },
  {
    type: "function_call",
    id: "fc_1",
    call_id: "c1",
    name: "f",
    arguments: "{}",
    status: "completed",
    async: null,
  },
  { type: "function_call_output", call_id: "c1", output: "done" },
];

export const SAMPLES: readonly Sample[] = [
  {
    path: "/v1/chat/completions",
    fields: chatFields,
    least: { model: "smol", messages: [{ role: "user", content: "hi" }] },
    more: {
      ...sampling,
      ...stripped,
      ...streaming,
      messages: chatMessages,
      max_tokens: 50,
      max_completion_tokens: 40,
      min_tokens: 3,
      n: 2,
      logprobs: true,
      top_logprobs: 5,
      response_format: { type: "json_schema", json_schema },
      tools: [{ type: "function", function: FUNCTION }],
      tool_choice: { type: "function", function: { name: "f" } },
      parallel_tool_calls: false,
      reasoning_effort: "low",
      include_reasoning: true,
      thinking_token_budget: 100,
      spaces_between_special_tokens: true,
      verbosity: "low",
      prediction: { type: "content", content: "x" },
      modalities: ["text"],
    },
  },
  {
    path: "/v1/completions",
    fields: completionsFields,
    least: { model: "smol", prompt: "hi" },
    more: {
      ...sampling,
      ...stripped,
      ...streaming,
      prompt: ["one", "two"],
      max_tokens: 50,
      min_tokens: 3,
      n: 2,
      logprobs: 5,
      echo: false,
      response_format: { type: "json_object" },
      add_special_tokens: true,
      spaces_between_special_tokens: true,
      best_of: 1,
    },
  },
  {
    path: "/v1/responses",
    fields: responsesFields,
    least: { model: "smol", input: "hi" },
    more: {
      ...sampling,
      ...stripped,
      input: responsesItems,
      instructions: "be",
      max_output_tokens: 50,
      stream: true,
      top_logprobs: 3,
      include: ["message.output_text.logprobs"],
      text: { verbosity: "low", format: { type: "json_schema", name: "n", schema: {} } },
      tools: [{ type: "function", ...FUNCTION }],
      tool_choice: { type: "function", name: "f" },
      parallel_tool_calls: true,
      reasoning: { effort: "low", summary: "auto" },
      include_reasoning: true,
      truncation: "disabled",
      background: false,
      previous_response_id: null,
      conversation: null,
      prompt: null,
      max_tool_calls: 3,
      stream_options: { include_obfuscation: false },
    },
  },
  {
    path: "/v1/messages",
    fields: messagesFields,
    least: { model: "smol", max_tokens: 9, messages: [{ role: "user", content: "hi" }] },
    more: {
      messages: anthropicMessages,
      max_tokens: 3_000,
      system: [{ type: "text", text: "be" }],
      stream: true,
      temperature: 1,
      top_p: 0.9,
      top_k: 5,
      stop_sequences: ["x"],
      tools: [
        {
          name: "f",
          input_schema: { type: "object" },
          description: "d",
          cache_control: null,
          type: "custom",
        },
      ],
      tool_choice: { type: "tool", name: "f", disable_parallel_tool_use: true },
      thinking: { type: "enabled", budget_tokens: 1_024 },
      output_config: { effort: "low", format: { type: "json_schema", schema: {} } },
      metadata: { user_id: "m" },
      service_tier: "auto",
      cache_control: { type: "ephemeral" },
      context_management: { edits: [] },
    },
  },
  {
    path: "/v1/embeddings",
    fields: embeddingsFields,
    least: { model: "minilm", input: "hi" },
    more: { ...stripped, ...reading, input: [[1, 2], [3]], dimensions: 64, encoding_format: "base64" },
  },
  {
    path: "/v1/rerank",
    fields: rerankFields,
    least: { model: "minilm", query: "q", documents: ["a"] },
    more: { ...stripped, ...scoring, documents: ["a", "b"], top_n: 1, return_documents: true },
  },
  {
    path: "/v1/score",
    fields: scoreFields,
    least: { model: "minilm", text_1: "q", text_2: ["a", "b"] },
    more: { ...stripped, ...scoring },
  },
  {
    path: "/v1/tokenize",
    fields: tokenizeFields,
    least: { model: "smol", prompt: "hi" },
    more: { ...stripped, add_special_tokens: true, add_generation_prompt: false, return_token_strs: true },
  },
];
