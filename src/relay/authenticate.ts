import { DENIAL_CACHE_MAX, DENIAL_CACHE_MS } from "../bounds.ts";
import { type Failure, FailureError } from "../errors.ts";
import { type KeyClaims, readKey } from "../keys.ts";
import type { Secrets } from "../secrets.ts";

/**
 * Who asks, by a signed key and without any I/O. Whether the key is still good is for the budget object to say; its
 * refusals are remembered here for a moment, so that a revoked key in a loop costs an isolate and not an object.
 */
export async function authenticate(request: Request, secrets: Secrets): Promise<KeyClaims> {
  const text = keyText(request.headers);
  if (text === null) throw new FailureError({ tag: "missing_key" });
  const claims = await readKey(text, secrets.macKeys);
  if (claims === null) throw new FailureError({ tag: "invalid_key" });
  const denial = denials.get(claims.secretHash);
  if (denial) {
    if (denial.untilMs > Date.now()) throw new FailureError(denial.failure);
    denials.delete(claims.secretHash);
  }
  return claims;
}

/** Remembers that a budget object refused the key itself. */
export function rememberDenial(claims: KeyClaims, failure: Failure): void {
  if (failure.tag !== "invalid_key" && failure.tag !== "revoked_key" && failure.tag !== "tenant_suspended")
    return;
  if (denials.size >= DENIAL_CACHE_MAX) denials.clear();
  denials.set(claims.secretHash, { failure, untilMs: Date.now() + DENIAL_CACHE_MS });
}

const denials = new Map<string, { readonly failure: Failure; readonly untilMs: number }>();

/** OpenAI's clients send a bearer token, Anthropic's `x-api-key`. */
function keyText(headers: Headers): string | null {
  const bearer = /^Bearer\s+(\S+)$/i.exec(headers.get("authorization") ?? "");
  return bearer?.[1] ?? headers.get("x-api-key");
}
