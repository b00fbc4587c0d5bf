import type { EndpointId, JsonObject } from "./endpoint.ts";
import { isJsonObject } from "./schema.ts";

/**
 * What a model reads, by endpoint. Who asks, how it is sampled and how the answer is told do not belong to it: a request
 * that kills engines must not become another by a new `user` or `seed`.
 */
const READ: { readonly [id in EndpointId]: readonly string[] } = {
  chat: ["messages", "tools", "response_format"],
  completions: ["prompt", "response_format"],
  responses: ["instructions", "input", "tools", "text"],
  messages: ["system", "messages", "tools", "output_config"],
  embeddings: ["input"],
  rerank: ["query", "documents"],
  score: ["queries", "documents", "text_1", "text_2"],
  tokenize: ["prompt", "messages"],
};

/** The generating content of a request as one text that is the same for the same content. Only for hashing. */
export function contentOf(endpoint: EndpointId, body: JsonObject): string {
  const read = READ[endpoint].map((name) => ordered(body[name] ?? null));
  return JSON.stringify([endpoint, body.model, ...read]);
}

/** With the fields of every object in order of their names: JSON says nothing about it. */
function ordered(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(ordered);
  if (!isJsonObject(value)) return value;
  const names = Object.keys(value).sort();
  return Object.fromEntries(names.map((name) => [name, ordered(value[name])]));
}
