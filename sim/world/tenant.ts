import {
  type BudgetPlace,
  type Limits,
  LOCATION_HINTS,
  type LocationHint,
  type OverdraftPolicy,
  type TenantRecord,
  type Weights,
} from "../../src/catalogue.ts";
import type { ReserveAsk } from "../../src/limits/messages.ts";

/** Where objects are, the home first. */
export const PLACES: readonly LocationHint[] = ["enam", ...LOCATION_HINTS.filter((hint) => hint !== "enam")];

export const KEY_ID = "key0000001";
const SECRET_HASH = "hash";

/** What of a tenant stays as it is while its limits change. */
export interface Policy {
  readonly keyLimits: Limits;
  readonly endUserLimits: Limits;
  readonly overdraft: OverdraftPolicy;
  readonly softAllowanceTokens: number;
}

export function recordOf(limits: Limits, policy: Policy, version: number): TenantRecord {
  const { endUserLimits, keyLimits, overdraft, softAllowanceTokens } = policy;
  const times = { expiresAtMs: null, revokedAtMs: null };
  return {
    tenant: {
      id: "acme",
      name: "Acme",
      ref: "00000000abc",
      limits,
      endUserLimits,
      overdraft,
      homeHint: PLACES[0]!,
      softAllowanceTokens,
      suspended: false,
      version,
      createdAtMs: 0,
    },
    keys: [{ id: KEY_ID, secretHash: SECRET_HASH, limits: keyLimits, ...times }],
  };
}

export function askOf(
  requestId: string,
  from: BudgetPlace,
  promptTokens: number,
  endUser: string | null,
  weights: Weights,
): ReserveAsk & { readonly weights: Weights } {
  return {
    requestId,
    from,
    keyId: KEY_ID,
    secretHash: SECRET_HASH,
    endUser,
    weights,
    model: "m",
    promptTokens,
    maxOutputTokens: null,
    choices: 1,
    generates: true,
  };
}
