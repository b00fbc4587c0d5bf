import { OBJECT_CALL_TIMEOUT_MS } from "../bounds.ts";
import { withDeadline } from "../deadline.ts";
import { homeOf, tenantBudget } from "../durable/stub.ts";
import type { Env } from "../env.ts";
import { FailureError } from "../errors.ts";
import { authenticate, rememberDenial } from "../relay/authenticate.ts";
import { secretsOf } from "../secrets.ts";
import { viewFrom } from "./location.ts";

const LIST = "/v1/models";

/** `GET /v1/models` and `GET /v1/models/{id}`: what this key may use, as OpenAI tells it. */
export async function models(request: Request, env: Env): Promise<Response> {
  const usable = await usableModels(request, env);
  const id = named(request.url);
  if (id === "") return Response.json({ object: "list", data: usable });
  const model = usable.find((known) => known.id === id);
  if (!model) throw new FailureError({ tag: "model_not_found", model: id });
  return Response.json(model);
}

/** The model that a path names, as it stands there when it is no valid percent encoding. */
function named(url: string): string {
  const text = new URL(url).pathname.slice(LIST.length + 1);
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

/** The path of one model: a name may contain slashes. */
export function isModelPath(path: string): boolean {
  return path.startsWith(`${LIST}/`) && path.length > LIST.length + 1;
}

async function usableModels(request: Request, env: Env) {
  const claims = await authenticate(request, await secretsOf(env));
  const budget = tenantBudget(env, homeOf(claims.tenantRef, claims.homeHint));
  const checked = await withDeadline(
    budget.check(claims.keyId, claims.secretHash),
    OBJECT_CALL_TIMEOUT_MS,
  ).catch((error: unknown) => {
    throw new FailureError({ tag: "budget_unavailable", retryAfterMs: 2_000, internalDetail: String(error) });
  });
  if (!checked.ok) {
    rememberDenial(claims, checked.failure);
    throw new FailureError(checked.failure);
  }
  const { catalogue } = await viewFrom(request, env);
  return catalogue.models
    .filter(({ id, revision }) => {
      return revision === undefined && (checked.models === null || checked.models.includes(id));
    })
    .map(({ id, createdAtMs, contextTokens }) => ({
      id,
      object: "model",
      created: Math.floor(createdAtMs / 1_000),
      owned_by: "meridian",
      ...(contextTokens === undefined ? {} : { max_model_len: contextTokens }),
    }));
}
