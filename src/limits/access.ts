import type { KeyRecord, TenantRecord } from "../catalogue.ts";
import type { Failure } from "../errors.ts";
import type { KeyCheck } from "./messages.ts";

/** Why a key may not be used at all, or null. */
export function keyDenial(
  record: TenantRecord,
  key: KeyRecord | undefined,
  secretHash: string,
  nowMs: number,
): Failure | null {
  // Hashes are compared, so the comparison's time tells nothing about the secret.
  if (!key || key.secretHash !== secretHash) return { tag: "invalid_key" };
  if (key.revokedAtMs !== null || (key.expiresAtMs !== null && key.expiresAtMs <= nowMs)) {
    return { tag: "revoked_key" };
  }
  return record.tenant.suspended ? { tag: "tenant_suspended" } : null;
}

/** Whether the budget's end must be known before the answer begins: it cannot be ended later, and that is the policy. */
export function isStrict(
  { tenant }: TenantRecord,
  { atOnce, generates }: { readonly atOnce?: boolean; readonly generates: boolean },
): boolean {
  return atOnce === true && generates && tenant.overdraft === "stop";
}

/**
 * An answer that nobody can count before its end cannot be ended when its budget is used up. Where that is the policy, it
 * holds all of it from the start: as much as there is, and it may not become longer than that.
 */
export function holdsAll(
  record: TenantRecord,
  ask: { readonly atOnce?: boolean; readonly generates: boolean },
  whole: number,
): boolean {
  return Number.isFinite(whole) && isStrict(record, ask);
}

/** A model that the tenant may not use does not exist for it. */
export function modelDenial({ tenant }: TenantRecord, model: string): Failure | null {
  return tenant.models && !tenant.models.includes(model) ? { tag: "model_not_found", model } : null;
}

/** Whether a key works at all, without reserving anything. */
export function checkKey(record: TenantRecord, keyId: string, secretHash: string, nowMs: number): KeyCheck {
  const key = record.keys.find((candidate) => candidate.id === keyId);
  const failure = keyDenial(record, key, secretHash, nowMs);
  return failure ? { ok: false, failure } : { ok: true, models: record.tenant.models ?? null };
}
