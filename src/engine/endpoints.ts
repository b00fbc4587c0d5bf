import type { Endpoint } from "./endpoint.ts";
import { chat } from "./endpoints/chat.ts";
import { completions } from "./endpoints/completions.ts";
import { embeddings } from "./endpoints/embeddings.ts";
import { messages } from "./endpoints/messages.ts";
import { rerank } from "./endpoints/rerank.ts";
import { responses } from "./endpoints/responses.ts";
import { score } from "./endpoints/score.ts";
import { tokenize } from "./endpoints/tokenize.ts";

/** The data plane: every path that a client can reach an engine by. All else does not exist. */
export const ENDPOINTS: readonly Endpoint[] = [
  chat,
  completions,
  responses,
  messages,
  embeddings,
  rerank,
  score,
  tokenize,
];

const byPath = new Map(ENDPOINTS.map((endpoint) => [endpoint.path, endpoint]));

export function endpointForPath(path: string): Endpoint | undefined {
  return byPath.get(path);
}
