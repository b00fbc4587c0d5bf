import type { Env } from "../env.ts";
import { FailureError } from "../errors.ts";
import { authenticate } from "../relay/authenticate.ts";
import { usableModels } from "../relay/key-check.ts";
import { secretsOf } from "../secrets.ts";
import { guardFlood } from "../upstash/flood.ts";
import { viewFrom } from "./location.ts";

const LIST = "/v1/models";

/** `GET /v1/models` and `GET /v1/models/{id}`: what this key may use, as OpenAI tells it. */
export async function models(request: Request, env: Env, ctx: ExecutionContext): Promise<Response> {
  const usable = await listed(request, env, ctx);
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

async function listed(request: Request, env: Env, ctx: ExecutionContext) {
  const claims = await authenticate(request, await secretsOf(env));
  await guardFlood(request, claims, env, ctx);
  const usable = await usableModels(env, claims);
  const { catalogue } = await viewFrom(request, env);
  return catalogue.models
    .filter(({ id, revision }) => revision === undefined && (usable === null || usable.includes(id)))
    .map(({ id, createdAtMs, contextTokens }) => ({
      id,
      object: "model",
      created: Math.floor(createdAtMs / 1_000),
      owned_by: "meridian",
      ...(contextTokens === undefined ? {} : { max_model_len: contextTokens }),
    }));
}
