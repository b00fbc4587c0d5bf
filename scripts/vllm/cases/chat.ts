import { type Case, CONTINUOUS, chat, LONG_PROMPT, SAY_EMOJI, STORY, USAGE, WEATHER } from "./case.ts";

const PATH = "/v1/chat/completions";
const TOOLS = [{ type: "function", function: WEATHER }];
const WEATHER_QUESTION = [{ role: "user", content: "What is the weather in Paris?" }];
const LONG = [{ role: "user", content: `${LONG_PROMPT}\nWhat turned all night?` }];
const CITY_SCHEMA = {
  type: "json_schema",
  json_schema: {
    name: "city",
    schema: {
      type: "object",
      properties: { city: { type: "string", maxLength: 10 } },
      required: ["city"],
      additionalProperties: false,
    },
  },
};

/** Chat on a server with tool calls and prompt token details switched on. */
export const CHAT_CASES: Case[] = [
  { name: "chat-stream-no-usage", shows: "a stream without stream_options", body: chat({ stream: true }) },
  { name: "chat-stream-usage", shows: "include_usage: one usage frame at the end", body: chat(USAGE) },
  { name: "chat-stream-continuous-usage", shows: "usage on every frame", body: chat(CONTINUOUS) },
  {
    name: "chat-stream-n2",
    shows: "two choices, interleaved",
    body: chat({ ...CONTINUOUS, n: 2, temperature: 1, seed: 7, max_tokens: 6 }),
  },
  {
    name: "chat-stream-stop-string",
    shows: "a stop string: text held back until it cannot be the stop string",
    body: chat({ ...CONTINUOUS, stop: [" Paris"] }),
  },
  {
    name: "chat-stream-length",
    shows: "finish_reason length, on a frame with text",
    body: chat({ ...CONTINUOUS, messages: STORY, max_tokens: 5 }),
  },
  {
    name: "chat-stream-emoji",
    shows: "characters of several tokens: frames without text are left out, usage jumps",
    body: chat({ ...CONTINUOUS, max_tokens: 40, ...SAY_EMOJI }),
  },
  {
    name: "chat-stream-logprobs",
    shows: "logprobs and top_logprobs",
    body: chat({ ...CONTINUOUS, logprobs: true, top_logprobs: 2, max_tokens: 3 }),
  },
  {
    name: "chat-stream-token-ids",
    shows: "return_token_ids: prompt_token_ids first, token_ids on each frame",
    body: chat({ ...CONTINUOUS, return_token_ids: true }),
  },
  {
    name: "chat-stream-cached-prompt",
    warm: true,
    shows: "the second of two equal prompts: cached_tokens above 0 (the last frame only)",
    body: chat({ ...CONTINUOUS, messages: LONG, max_tokens: 4 }),
  },
  {
    name: "chat-stream-tool-required",
    shows: "tool_choice required",
    body: chat({
      ...CONTINUOUS,
      max_tokens: 80,
      messages: WEATHER_QUESTION,
      tools: TOOLS,
      tool_choice: "required",
    }),
  },
  {
    name: "chat-stream-tool-named",
    shows: "tool_choice names the function: finish_reason is stop",
    body: chat({
      ...CONTINUOUS,
      max_tokens: 80,
      messages: WEATHER_QUESTION,
      tools: TOOLS,
      tool_choice: { type: "function", function: { name: "get_weather" } },
    }),
  },
  {
    name: "chat-stream-tool-auto",
    shows: "tool_choice auto, answered with text",
    body: chat({ ...CONTINUOUS, tools: TOOLS }),
  },
  {
    name: "chat-stream-json-schema",
    shows: "response_format json_schema",
    body: chat({ ...CONTINUOUS, max_tokens: 30, response_format: CITY_SCHEMA }),
  },
  {
    name: "chat-stream-resume",
    shows: "continue_final_message: a new id, the role frame again, prompt_tokens with the partial text",
    body: chat({
      ...CONTINUOUS,
      messages: [
        { role: "user", content: "What is the capital of France?" },
        { role: "assistant", content: "The capital of" },
      ],
      continue_final_message: true,
      add_generation_prompt: false,
    }),
  },
  { name: "chat-json", shows: "one JSON", body: chat({}) },
  {
    name: "chat-json-length",
    shows: "finish_reason length",
    body: chat({ messages: STORY, max_tokens: 5 }),
  },
  {
    name: "chat-json-stop-string",
    shows: "stop_reason names the stop string",
    body: chat({ stop: [" Paris"] }),
  },
  {
    name: "chat-json-clamped",
    shows: "prompt and max_tokens above the context together: the answer is cut short, not refused",
    body: chat({
      messages: [{ role: "user", content: "word ".repeat(2010) }],
      max_tokens: 500,
      ignore_eos: true,
    }),
  },
  {
    name: "chat-json-no-model",
    shows: "without model: the served one answers",
    body: { temperature: 0, max_tokens: 2, messages: STORY },
  },
  {
    name: "chat-json-unknown-field",
    shows: "unknown fields are passed over in silence",
    body: chat({ max_tokens: 2, guided_json: { type: "object" }, max_token: 1 }),
  },
  {
    name: "chat-json-n2",
    shows: "two choices in one JSON",
    body: chat({ n: 2, temperature: 1, seed: 7, max_tokens: 6 }),
  },
  {
    name: "chat-json-logprobs",
    shows: "logprobs in one JSON",
    body: chat({ logprobs: true, top_logprobs: 2, max_tokens: 2 }),
  },
  {
    name: "chat-json-tool-required",
    shows: "a tool call in one JSON",
    body: chat({ max_tokens: 80, messages: WEATHER_QUESTION, tools: TOOLS, tool_choice: "required" }),
  },
  {
    name: "chat-json-request-id",
    shows: "X-Request-Id becomes the id",
    body: chat({ max_tokens: 2 }),
    headers: { "x-request-id": "meridian-1" },
  },
].map((one) => ({ path: PATH, ...one }));
