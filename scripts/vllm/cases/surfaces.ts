import {
  CAPITAL,
  type Case,
  CONTINUOUS,
  LONG_PROMPT,
  SAY_EMOJI,
  SAY_EMOJI_MESSAGES,
  STORY,
  USAGE,
  WEATHER,
} from "./case.ts";

const PROMPT = { model: "smol", temperature: 0, max_tokens: 8, prompt: "The capital of France is" };
const MESSAGE = { model: "smol", temperature: 0, max_tokens: 12, messages: CAPITAL };
const INPUT = {
  model: "smol",
  temperature: 0,
  max_output_tokens: 12,
  input: "What is the capital of France?",
};
const RESPONSE_TOOL = { type: "function", ...WEATHER };
const MESSAGE_TOOL = {
  name: WEATHER.name,
  description: WEATHER.description,
  input_schema: WEATHER.parameters,
};
const ASK_WEATHER = "What is the weather in Paris?";

export const COMPLETION_CASES: Case[] = [
  { name: "completions-stream", shows: "include_usage", body: { ...PROMPT, ...USAGE } },
  {
    name: "completions-stream-continuous-usage",
    shows: "usage on every frame; no role frame",
    body: { ...PROMPT, ...CONTINUOUS },
  },
  {
    name: "completions-stream-emoji",
    shows: "frames with empty text inside a character",
    body: { ...PROMPT, ...CONTINUOUS, ...SAY_EMOJI, max_tokens: 40 },
  },
  {
    name: "completions-stream-two-prompts",
    shows: "a list of prompts: index counts prompts, usage sums up",
    body: { ...PROMPT, ...CONTINUOUS, max_tokens: 3, prompt: ["One two", "The capital of France is"] },
  },
  {
    name: "completions-stream-logprobs",
    shows: "logprobs",
    body: { ...PROMPT, ...CONTINUOUS, max_tokens: 2, logprobs: 2 },
  },
  { name: "completions-json", shows: "one JSON", body: PROMPT },
  { name: "completions-json-echo", shows: "echo: the prompt in front", body: { ...PROMPT, echo: true } },
].map((one) => ({ path: "/v1/completions", ...one }));

export const RESPONSES_CASES: Case[] = [
  { name: "responses-stream", shows: "usage in response.completed only", body: { ...INPUT, stream: true } },
  {
    name: "responses-stream-incomplete",
    shows: "cut by max_output_tokens",
    body: { ...INPUT, input: STORY[0]?.content, max_output_tokens: 4, stream: true },
  },
  {
    name: "responses-stream-tool",
    shows: "a function call",
    body: {
      ...INPUT,
      input: ASK_WEATHER,
      max_output_tokens: 80,
      stream: true,
      tools: [RESPONSE_TOOL],
      tool_choice: "required",
    },
  },
  {
    name: "responses-stream-emoji",
    shows: "no event for a token inside a character",
    body: { ...INPUT, ...SAY_EMOJI, max_output_tokens: 40, stream: true },
  },
  { name: "responses-json", shows: "one JSON", body: INPUT },
  {
    name: "responses-json-incomplete",
    shows: "cut by max_output_tokens",
    body: { ...INPUT, input: STORY[0]?.content, max_output_tokens: 4 },
  },
].map((one) => ({ path: "/v1/responses", ...one }));

export const MESSAGE_CASES: Case[] = [
  {
    name: "messages-stream",
    shows: "prompt tokens in message_start, output tokens in message_delta only",
    body: { ...MESSAGE, stream: true },
  },
  {
    name: "messages-stream-max-tokens",
    shows: "stop_reason max_tokens",
    body: { ...MESSAGE, messages: STORY, max_tokens: 4, stream: true },
  },
  {
    name: "messages-stream-stop-sequence",
    shows: "stop_reason stop_sequence",
    body: { ...MESSAGE, stop_sequences: [" Paris"], stream: true },
  },
  {
    name: "messages-stream-cached-prompt",
    warm: true,
    shows: "the second of two equal prompts: message_start counts the whole prompt, message_delta splits it",
    body: { ...MESSAGE, max_tokens: 4, messages: [{ role: "user", content: LONG_PROMPT }], stream: true },
  },
  {
    name: "messages-stream-tool",
    shows: "a tool_use block",
    body: {
      ...MESSAGE,
      max_tokens: 80,
      messages: [{ role: "user", content: ASK_WEATHER }],
      tools: [MESSAGE_TOOL],
      tool_choice: { type: "any" },
      stream: true,
    },
  },
  {
    name: "messages-stream-emoji",
    shows: "no event for a token inside a character",
    body: { ...MESSAGE, ...SAY_EMOJI_MESSAGES, max_tokens: 40, stream: true },
  },
  { name: "messages-json", shows: "one JSON", body: MESSAGE },
].map((one) => ({ path: "/v1/messages", ...one }));

export const OTHER_CASES: Case[] = [
  {
    name: "messages-count-tokens",
    path: "/v1/messages/count_tokens",
    shows: "the size of a prompt",
    body: { model: "smol", messages: CAPITAL },
  },
  {
    name: "tokenize-prompt",
    path: "/tokenize",
    shows: "token ids of a text",
    body: { model: "smol", prompt: "Hi 😀" },
  },
  {
    name: "tokenize-messages",
    path: "/tokenize",
    shows: "token ids of a chat, template included",
    body: { model: "smol", messages: CAPITAL, return_token_strs: true },
  },
  {
    name: "detokenize",
    path: "/detokenize",
    shows: "text of token ids",
    body: { model: "smol", tokens: [504, 3575, 282, 4649] },
  },
  { name: "models", path: "/v1/models", shows: "what is served" },
  { name: "version", path: "/version", shows: "the version" },
  { name: "health", path: "/health", shows: "an empty 200" },
  { name: "ping", path: "/ping", shows: "an empty 200" },
  { name: "load", path: "/load", shows: "0 unless load tracking is on" },
  { name: "metrics-idle", path: "/metrics", shows: "Prometheus text after the cases above" },
];
