import { CAPITAL, type Case, TOO_LONG } from "./case.ts";

const EMBED = { model: "minilm", input: "The capital of France is Paris." };
const DOCUMENTS = ["Paris is the capital of France.", "Lighthouses stand on rocks.", "Berlin is in Germany."];
const RANK = { model: "minilm", query: "What is the capital of France?", documents: DOCUMENTS };

/** Cases for a server started with a pooling model. */
export const EMBED_CASES: Case[] = [
  { name: "embeddings-json", path: "/v1/embeddings", shows: "one text, floats", body: EMBED },
  {
    name: "embeddings-base64",
    path: "/v1/embeddings",
    shows: "two texts, base64 of little-endian float32",
    body: { ...EMBED, input: ["one", "two three"], encoding_format: "base64" },
  },
  {
    name: "embeddings-token-ids",
    path: "/v1/embeddings",
    shows: "token ids as input",
    body: { ...EMBED, input: [101, 7592, 102], encoding_format: "base64" },
  },
  { name: "rerank-json", path: "/v1/rerank", shows: "documents in the order of relevance", body: RANK },
  { name: "rerank-top-1", path: "/v1/rerank", shows: "top_n 1", body: { ...RANK, top_n: 1 } },
  {
    name: "score-json",
    path: "/v1/score",
    shows: "one text against several",
    body: { model: "minilm", queries: RANK.query, documents: DOCUMENTS },
  },
  {
    name: "score-text-1-text-2",
    path: "/v1/score",
    shows: "the older names of the fields",
    body: { model: "minilm", text_1: RANK.query, text_2: DOCUMENTS },
  },
  { name: "embed-models", path: "/v1/models", shows: "what is served" },
  {
    name: "embed-tokenize",
    path: "/tokenize",
    shows: "token ids",
    body: { model: "minilm", prompt: "one two" },
  },
  {
    name: "error-embeddings-unknown-model",
    path: "/v1/embeddings",
    shows: "404 without the aliases",
    body: { ...EMBED, model: "nope" },
  },
  {
    name: "error-embeddings-too-long",
    path: "/v1/embeddings",
    shows: "a text longer than the context",
    body: { ...EMBED, input: TOO_LONG },
  },
  {
    name: "error-embeddings-dimensions",
    path: "/v1/embeddings",
    shows: "dimensions of a model that has one size only",
    body: { ...EMBED, dimensions: 64 },
  },
  {
    name: "error-embeddings-empty",
    path: "/v1/embeddings",
    shows: "an empty list",
    body: { ...EMBED, input: [] },
  },
  {
    name: "error-rerank-missing-documents",
    path: "/v1/rerank",
    shows: "a required field",
    body: { model: "minilm", query: "x" },
  },
  {
    name: "error-chat-on-embed-server",
    path: "/v1/chat/completions",
    shows: "a generating route on a pooling server",
    body: { model: "minilm", messages: CAPITAL },
  },
];
