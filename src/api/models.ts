import { OBJECT_CALL_TIMEOUT_MS } from "../bounds.ts";
import { withDeadline } from "../deadline.ts";
import { homeOf, tenantBudget } from "../durable/stub.ts";
import type { Env } from "../env.ts";
import { FailureError } from "../errors.ts";
import { authenticate, rememberDenial } from "../relay/authenticate.ts";
import { directoryView } from "../relay/view.ts";
import { nearestHint } from "../routing/geo.ts";
import { secretsOf } from "../secrets.ts";
import { clientPosition } from "./location.ts";

/** `GET /v1/models`: what this key may use, as OpenAI lists it. */
export async function listModels(request: Request, env: Env): Promise<Response> {
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
  const { catalogue } = await directoryView(env, nearestHint(clientPosition(request, env)));
  const data = catalogue.models
    .filter(({ id }) => checked.models === null || checked.models.includes(id))
    .map(({ id, createdAtMs, contextTokens }) => ({
      id,
      object: "model",
      created: Math.floor(createdAtMs / 1_000),
      owned_by: "meridian",
      ...(contextTokens === undefined ? {} : { max_model_len: contextTokens }),
    }));
  return Response.json({ object: "list", data });
}
