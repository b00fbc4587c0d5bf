import { OBJECT_CALL_TIMEOUT_MS } from "../bounds.ts";
import { withDeadline } from "../deadline.ts";
import { homeOf, tenantBudget } from "../durable/stub.ts";
import type { Env } from "../env.ts";
import { FailureError } from "../errors.ts";
import type { KeyClaims } from "../keys.ts";
import { rememberDenial } from "./authenticate.ts";

/**
 * The models that a key may use (null: all), by its tenant's budget. Throws why the key may use none: whoever is told of
 * models has a key that works.
 */
export async function usableModels(env: Env, claims: KeyClaims): Promise<readonly string[] | null> {
  const budget = tenantBudget(env, homeOf(claims.tenantRef, claims.homeHint));
  const checked = await withDeadline(
    budget.check(claims.keyId, claims.secretHash),
    OBJECT_CALL_TIMEOUT_MS,
  ).catch((error: unknown) => {
    throw new FailureError({ tag: "budget_unavailable", retryAfterMs: 2_000, internalDetail: String(error) });
  });
  if (checked.ok) return checked.models;
  rememberDenial(claims, checked.failure);
  throw new FailureError(checked.failure);
}
