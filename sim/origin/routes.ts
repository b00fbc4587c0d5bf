/** The route table: vLLM's paths, and `/_sim/*` for tests. */
import type { IncomingMessage, ServerResponse } from "node:http";
import { planChat } from "./api/chat.ts";
import { planCompletion } from "./api/completions.ts";
import { ApiError } from "./api/errors.ts";
import { sendError, sendJson, sendText } from "./api/http.ts";
import { countTokens, planMessages } from "./api/messages.ts";
import { nowSeconds, type Plan, randomId, VERSION } from "./api/plan.ts";
import { type PoolingPlan, planEmbeddings, planRerank, planScore } from "./api/pooling.ts";
import { planResponses, responseNotFound } from "./api/responses.ts";
import { detokenize, tokenize } from "./api/tokens.ts";
import type { Body } from "./api/validate.ts";
import { control } from "./control.ts";
import type { ReplicaOptions } from "./options.ts";
import { post } from "./post.ts";
import type { Site } from "./site.ts";

/** What a POST route does with its body. */
export type PostRoute =
  | { readonly kind: "generate"; readonly plan: Planner<Plan> }
  | { readonly kind: "pool"; readonly plan: Planner<PoolingPlan> }
  | { readonly kind: "compute"; readonly compute: (body: Body, options: ReplicaOptions) => object };
type Planner<T> = (body: Body, requestId: string | undefined, options: ReplicaOptions) => T;

const POST: Readonly<Record<string, PostRoute>> = {
  "/v1/chat/completions": { kind: "generate", plan: planChat },
  "/v1/completions": { kind: "generate", plan: planCompletion },
  "/v1/responses": { kind: "generate", plan: planResponses },
  "/v1/messages": { kind: "generate", plan: planMessages },
  "/v1/messages/count_tokens": { kind: "compute", compute: countTokens },
  // SageMaker's route: any of the above by the shape of the body, and outside the key-protected prefixes.
  "/invocations": {
    kind: "generate",
    plan: (body, id, options) => (body.messages === undefined ? planCompletion : planChat)(body, id, options),
  },
  "/v1/embeddings": { kind: "pool", plan: planEmbeddings },
  "/v1/rerank": { kind: "pool", plan: planRerank },
  "/v2/rerank": { kind: "pool", plan: planRerank },
  "/rerank": { kind: "pool", plan: planRerank },
  "/v1/score": { kind: "pool", plan: planScore },
  "/score": { kind: "pool", plan: planScore },
  "/tokenize": { kind: "compute", compute: tokenize },
  "/detokenize": { kind: "compute", compute: detokenize },
};

const PROMETHEUS = { "content-type": "text/plain; version=1.0.0; charset=utf-8" };
const GET: Readonly<Record<string, (site: Site, res: ServerResponse) => void>> = {
  "/health": (site, res) => sendText(res, site.board.take("unhealthy", "") === undefined ? 200 : 503, "", {}),
  "/ping": (_site, res) => sendText(res, 200, "", {}),
  "/version": (_site, res) => sendJson(res, 200, { version: VERSION }),
  "/load": ({ options, answers }, res) =>
    sendJson(res, 200, { server_load: options.enableServerLoadTracking ? answers.size : 0 }),
  "/metrics": (site, res) =>
    sendText(res, 200, site.metrics.render(site.board.take("report", "")), PROMETHEUS),
  "/v1/models": (site, res) => sendJson(res, 200, listModels(site.options)),
};

/** The prefixes that `--api-key` guards; everything else is open in vLLM. */
const GUARDED = ["/v1", "/v2", "/inference", "/cohere"];

/** Handles one request; every error becomes an answer. */
export async function route(site: Site, req: IncomingMessage, res: ServerResponse): Promise<void> {
  const path = (req.url ?? "/").split("?", 1)[0]!;
  if (path.startsWith("/_sim/")) return control(site, path, req, res);
  const { apiKey } = site.options;
  const guarded = GUARDED.some((prefix) => path.startsWith(prefix));
  if (apiKey !== undefined && guarded && req.headers.authorization !== `Bearer ${apiKey}`) {
    res.removeHeader("vary");
    return sendJson(res, 401, { error: "Unauthorized" });
  }
  const poster = POST[path];
  const getter = GET[path];
  if (poster !== undefined && req.method === "POST") return post(site, path, poster, req, res);
  if (site.board.take("refuse", "") !== undefined) {
    req.socket.destroy();
    return;
  }
  if (getter !== undefined && req.method === "GET") return getter(site, res);
  const stored = /^\/v1\/responses\/([^/]+)(\/cancel)?$/.exec(path);
  if (stored !== null) return sendError(res, responseNotFound(stored[1]!));
  if (path === "/inference/v1/generate") {
    const message =
      "Scale-out endpoints are disabled. Restart vllm serve with --enable-scale-out to enable them.";
    return sendError(res, new ApiError(403, "PermissionDeniedError", message));
  }
  if (poster === undefined && getter === undefined) return sendJson(res, 404, { detail: "Not Found" });
  sendJson(res, 405, { detail: "Method Not Allowed" }, { allow: poster === undefined ? "GET" : "POST" });
}

function listModels(options: ReplicaOptions): object {
  const { model, alsoServedAs } = options;
  const names = [model, ...alsoServedAs, ...(options.embedModel === undefined ? [] : [options.embedModel])];
  const created = nowSeconds();
  return {
    object: "list",
    data: names.map((id) => ({
      id,
      object: "model",
      created,
      owned_by: "vllm",
      root: id,
      parent: null,
      max_model_len: options.maxModelLen,
      permission: [
        {
          id: `modelperm-${randomId()}`,
          object: "model_permission",
          created,
          allow_create_engine: false,
          allow_sampling: true,
          allow_logprobs: true,
          allow_search_indices: false,
          allow_view: true,
          allow_fine_tuning: false,
          organization: "*",
          group: null,
          is_blocking: false,
        },
      ],
    })),
  };
}
