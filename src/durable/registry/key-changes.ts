import type { ApiKey, KeyInput, Tenant } from "../../catalogue.ts";
import type { KeyClaims } from "../../keys.ts";
import type { Audit } from "./audit.ts";
import { KEYS_PER_TENANT_MAX } from "./bounds.ts";
import { endedAtMs } from "./keys.ts";
import { type By, type Done, missing, ok, type Result, refused } from "./messages.ts";
import { addressOf } from "./outbox.ts";
import type { Tenants } from "./tenants.ts";

/** Keys come and go. Their secrets never get here: the caller mints a key and hands over its claims. */
export class KeyChanges {
  readonly #tenants: Tenants;
  readonly #audit: Audit;

  constructor(tenants: Tenants, audit: Audit) {
    this.#tenants = tenants;
    this.#audit = audit;
  }

  create(by: By, nowMs: number, tenantId: string, input: KeyInput, claims: KeyClaims): Result<Done<ApiKey>> {
    const room = this.#room(nowMs, tenantId, claims);
    if (!room.ok) return room;
    if (input.expiresAtMs !== undefined && input.expiresAtMs <= nowMs) {
      const detail = "It is in the past.";
      return refused({ tag: "invalid_field", param: "expiresAtMs", detail });
    }
    const key = newKey(room.value, input, claims, nowMs);
    this.#tenants.keys.insert(key, claims.secretHash);
    this.#audit.add(by, nowMs, "key.create", target(key), null, key);
    return ok({ value: key, push: this.#tenants.touch(room.value, nowMs) });
  }

  /** Revoking twice is revoking once. */
  revoke(by: By, nowMs: number, tenantId: string, keyId: string): Result<Done<null>> {
    const found = this.#find(tenantId, keyId);
    if (!found.ok) return found;
    const { tenant, key } = found.value;
    if (key.revokedAtMs !== null) {
      return ok({ value: null, push: addressOf(tenant) });
    }
    const after = { ...key, revokedAtMs: nowMs };
    this.#tenants.keys.replace(after);
    this.#audit.add(by, nowMs, "key.revoke", target(key), key, after);
    return ok({ value: null, push: this.#tenants.touch(tenant, nowMs) });
  }

  /** A new key like the old one, its end included; the old one ends after the overlap, or sooner if it did anyway. */
  rotate(
    by: By,
    nowMs: number,
    tenantId: string,
    keyId: string,
    overlapMs: number,
    claims: KeyClaims,
  ): Result<Done<ApiKey>> {
    const found = this.#find(tenantId, keyId);
    if (!found.ok) return found;
    const { key: old } = found.value;
    if (old.replacedBy !== null) {
      return refused({ tag: "conflict", detail: `This key was already replaced by '${old.replacedBy}'.` });
    }
    if (endedAtMs(old) <= nowMs) {
      return refused({ tag: "conflict", detail: "This key was revoked or has expired: create a new one." });
    }
    const room = this.#room(nowMs, tenantId, claims);
    if (!room.ok) return room;
    const key = newKey(room.value, old, claims, nowMs);
    const ending = { ...old, replacedBy: key.id, expiresAtMs: Math.min(endedAtMs(old), nowMs + overlapMs) };
    this.#tenants.keys.insert(key, claims.secretHash);
    this.#tenants.keys.replace(ending);
    this.#audit.add(by, nowMs, "key.rotate", target(old), old, ending);
    this.#audit.add(by, nowMs, "key.create", target(key), null, key);
    return ok({ value: key, push: this.#tenants.touch(room.value, nowMs) });
  }

  #find(tenantId: string, keyId: string): Result<{ tenant: Tenant; key: ApiKey }> {
    const found = this.#tenants.at(tenantId, null);
    if (!found.ok) return found;
    const key = this.#tenants.keys.get(tenantId, keyId);
    if (!key) return missing(`key '${keyId}' of tenant '${tenantId}'`);
    return ok({ tenant: found.value, key });
  }

  #room(nowMs: number, tenantId: string, claims: KeyClaims): Result<Tenant> {
    const found = this.#tenants.at(tenantId, null);
    if (!found.ok) return found;
    const tenant = found.value;
    // The caller read the tenant before it minted: another one may have taken its id since.
    if (claims.tenantRef !== tenant.ref || claims.homeHint !== tenant.homeHint) {
      return refused({ tag: "conflict", detail: "The tenant was created anew meanwhile. Try again." });
    }
    if (this.#tenants.keys.prune(tenantId, nowMs) >= KEYS_PER_TENANT_MAX) {
      const detail = `A tenant has at most ${KEYS_PER_TENANT_MAX} keys, those that ended of late included.`;
      return refused({ tag: "conflict", detail });
    }
    return found;
  }
}

function newKey(tenant: Tenant, like: KeyInput, claims: KeyClaims, nowMs: number): ApiKey {
  const { name, limits, expiresAtMs, priority, defaultPriority } = like;
  return {
    id: claims.keyId,
    tenantId: tenant.id,
    name,
    limits,
    ...(expiresAtMs === undefined ? {} : { expiresAtMs }),
    ...(priority === undefined ? {} : { priority }),
    ...(defaultPriority === undefined ? {} : { defaultPriority }),
    createdAtMs: nowMs,
    revokedAtMs: null,
    replacedBy: null,
  };
}

function target(key: ApiKey): string {
  return `tenants/${key.tenantId}/keys/${key.id}`;
}
