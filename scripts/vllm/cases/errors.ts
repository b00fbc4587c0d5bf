import { CAPITAL, type Case, chat, TOO_LONG } from "./case.ts";

const CHAT = "/v1/chat/completions";
const PROMPT = { model: "smol", temperature: 0, max_tokens: 8, prompt: "The capital of France is" };
const MESSAGE = { model: "smol", temperature: 0, max_tokens: 12, messages: CAPITAL };
const INPUT = {
  model: "smol",
  temperature: 0,
  max_output_tokens: 12,
  input: "What is the capital of France?",
};
const IMAGE = { type: "image_url", image_url: { url: "data:image/png;base64,iVBORw0KGgo=" } };
const LONG_CHAT = chat({ messages: [{ role: "user", content: TOO_LONG }] });

const CHAT_ERRORS: Case[] = [
  { name: "unknown-model", shows: "404 that names the aliases", body: chat({ model: "nope" }) },
  {
    name: "unknown-model-stream",
    shows: "the same for a stream",
    body: chat({ model: "nope", stream: true }),
  },
  { name: "bad-json", shows: "400, type Bad Request", body: '{"model":"smol","messages":[' },
  { name: "empty-body", shows: "no body at all", body: "" },
  { name: "wrong-type", shows: "max_tokens is a word", body: chat({ max_tokens: "many" }) },
  { name: "missing-messages", shows: "a required field", body: { model: "smol" } },
  { name: "empty-messages", shows: "no message", body: chat({ messages: [] }) },
  { name: "too-long", shows: "a prompt longer than the context", body: LONG_CHAT },
  {
    name: "too-long-stream",
    shows: "the same for a stream: a true 400",
    body: { ...LONG_CHAT, stream: true },
  },
  { name: "max-tokens-too-large", shows: "max_tokens above the context", body: chat({ max_tokens: 5000 }) },
  { name: "max-tokens-zero", shows: "max_tokens 0", body: chat({ max_tokens: 0 }) },
  { name: "max-tokens-negative", shows: "max_tokens -1", body: chat({ max_tokens: -1 }) },
  { name: "temperature-negative", shows: "temperature -1", body: chat({ temperature: -1 }) },
  { name: "n-zero", shows: "n 0", body: chat({ n: 0 }) },
  {
    name: "top-logprobs-too-many",
    shows: "top_logprobs 99",
    body: chat({ logprobs: true, top_logprobs: 99 }),
  },
  {
    name: "image-to-text-model",
    shows: "a picture",
    body: chat({ messages: [{ role: "user", content: [{ type: "text", text: "What is this?" }, IMAGE] }] }),
  },
  {
    name: "stream-options-without-stream",
    shows: "stream_options alone",
    body: chat({ stream_options: { include_usage: true } }),
  },
  {
    name: "bad-schema",
    shows: "a response_format that is no schema",
    body: chat({
      response_format: { type: "json_schema", json_schema: { name: "x", schema: { type: "no" } } },
    }),
  },
  {
    name: "continue-without-flag",
    shows: "continue_final_message with the default add_generation_prompt",
    body: chat({ continue_final_message: true }),
  },
  {
    name: "wrong-content-type",
    shows: "JSON sent as text/plain",
    body: chat({}),
    headers: { "content-type": "text/plain" },
  },
].map((one) => ({ path: CHAT, ...one }));

const OTHER_ERRORS: Case[] = [
  { name: "unknown-path", path: "/v1/nothing", shows: "404 without an error object", body: {} },
  { name: "wrong-method", path: CHAT, shows: "GET instead of POST" },
  {
    name: "embeddings-on-chat-server",
    path: "/v1/embeddings",
    shows: "a pooling route on a generating server",
    body: { model: "smol", input: "x" },
  },
  {
    name: "scale-out-off",
    path: "/inference/v1/generate",
    shows: "403 of the token routes",
    body: { model: "smol", token_ids: [1], sampling_params: { max_tokens: 1 } },
  },
  {
    name: "completions-too-long",
    path: "/v1/completions",
    shows: "a prompt longer than the context",
    body: { ...PROMPT, prompt: TOO_LONG },
  },
  {
    name: "completions-unknown-model",
    path: "/v1/completions",
    shows: "unknown model",
    body: { ...PROMPT, model: "nope" },
  },
  {
    name: "responses-unknown-model",
    path: "/v1/responses",
    shows: "unknown model",
    body: { ...INPUT, model: "nope" },
  },
  {
    name: "responses-too-long",
    path: "/v1/responses",
    shows: "a prompt longer than the context",
    body: { ...INPUT, input: TOO_LONG },
  },
  {
    name: "responses-not-stored",
    path: "/v1/responses",
    shows: "previous_response_id without a store",
    body: { ...INPUT, previous_response_id: "resp_1" },
  },
  {
    name: "responses-get-unknown",
    path: "/v1/responses/resp_1",
    shows: "reading a response that is not kept",
  },
  {
    name: "messages-unknown-model",
    path: "/v1/messages",
    shows: "the Anthropic shape of an error",
    body: { ...MESSAGE, model: "nope" },
  },
  {
    name: "messages-missing-max-tokens",
    path: "/v1/messages",
    shows: "a validation error in the OpenAI shape",
    body: { model: "smol", messages: CAPITAL },
  },
  {
    name: "messages-too-long",
    path: "/v1/messages",
    shows: "a prompt longer than the context",
    body: { ...MESSAGE, messages: [{ role: "user", content: TOO_LONG }] },
  },
  {
    name: "messages-too-long-stream",
    path: "/v1/messages",
    shows: "the same for a stream",
    body: { ...MESSAGE, messages: [{ role: "user", content: TOO_LONG }], stream: true },
  },
  {
    name: "tokenize-missing-input",
    path: "/tokenize",
    shows: "neither prompt nor messages",
    body: { model: "smol" },
  },
];

export const ERROR_CASES: Case[] = [...CHAT_ERRORS, ...OTHER_ERRORS].map((one) => ({
  ...one,
  name: `error-${one.name}`,
}));
