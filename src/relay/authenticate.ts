import { CALLER_CACHE_MAX, DENIAL_CACHE_MAX, DENIAL_CACHE_MS } from "../bounds.ts";
import { mac, toBase64Url } from "../contract/encoding.ts";
import { type Failure, FailureError } from "../errors.ts";
import { type KeyClaims, readKey } from "../keys.ts";
import type { Secrets } from "../secrets.ts";

/** Who asks, and what follows from it alone. */
export interface Caller extends KeyClaims {
  /** Keeps this tenant's prefixes apart in an engine's cache: nobody can time another tenant's prompts. */
  readonly cacheSalt: string;
}

/**
 * Who asks, by a signed key and without any I/O. Whether the key is still good is for the budget object to say; its
 * refusals are remembered here for a moment, so that a revoked key in a loop costs an isolate and not an object.
 * Verified keys are remembered too: three signatures a request are a good part of what the edge has to compute.
 */
export async function authenticate(request: Request, secrets: Secrets): Promise<Caller> {
  const text = keyText(request.headers);
  if (text === null) throw new FailureError({ tag: "missing_key" });
  const caller = callers.get(text) ?? (await verified(text, secrets));
  const name = nameOf(caller);
  const denial = denials.get(name);
  if (denial) {
    if (denial.untilMs > Date.now()) throw new FailureError(denial.failure);
    denials.delete(name);
  }
  return caller;
}

async function verified(text: string, secrets: Secrets): Promise<Caller> {
  const claims = await readKey(text, secrets.macKeys);
  if (claims === null) throw new FailureError({ tag: "invalid_key" });
  const salt = await mac(secrets.ticketKey, `cache salt\n${claims.tenantRef}`);
  const caller = { ...claims, cacheSalt: toBase64Url(salt.subarray(0, 16)) };
  if (callers.size >= CALLER_CACHE_MAX) callers.clear();
  callers.set(text, caller);
  return caller;
}

/** By the key's text. A secret leaves service only with a new version of the Worker, and isolates end with it. */
const callers = new Map<string, Caller>();

/** Remembers that a budget object refused the key itself. */
export function rememberDenial(claims: KeyClaims, failure: Failure): void {
  if (failure.tag !== "invalid_key" && failure.tag !== "revoked_key" && failure.tag !== "tenant_suspended")
    return;
  if (denials.size >= DENIAL_CACHE_MAX) denials.clear();
  denials.set(nameOf(claims), { failure, untilMs: Date.now() + DENIAL_CACHE_MS });
}

/** All that the budget object judged by: a key that differs in any of it has not been denied. */
function nameOf({ tenantRef, keyId, secretHash }: KeyClaims): string {
  return `${tenantRef}${keyId}${secretHash}`;
}

const denials = new Map<string, { readonly failure: Failure; readonly untilMs: number }>();

/** OpenAI's clients send a bearer token, Anthropic's `x-api-key`. */
function keyText(headers: Headers): string | null {
  return bearerOf(headers) ?? headers.get("x-api-key");
}

export function bearerOf(headers: Headers): string | null {
  return /^Bearer\s+(\S+)$/i.exec(headers.get("authorization") ?? "")?.[1] ?? null;
}
