import {
  type Limits,
  LOCATION_HINTS,
  type LocationHint,
  type OverdraftPolicy,
  type TenantRecord,
} from "../../src/catalogue.ts";
import type { ReserveAsk } from "../../src/limits/messages.ts";

/** Where objects are, the home first. */
export const PLACES: readonly LocationHint[] = ["enam", ...LOCATION_HINTS.filter((hint) => hint !== "enam")];

export const KEY_ID = "key0000001";
const SECRET_HASH = "hash";

export function recordOf(
  limits: Limits,
  keyLimits: Limits,
  overdraft: OverdraftPolicy,
  version: number,
): TenantRecord {
  const times = { expiresAtMs: null, revokedAtMs: null };
  return {
    tenant: {
      id: "acme",
      name: "Acme",
      ref: "00000000abc",
      limits,
      endUserLimits: {},
      overdraft,
      homeHint: PLACES[0]!,
      softAllowanceTokens: 0,
      suspended: false,
      version,
      createdAtMs: 0,
    },
    keys: [{ id: KEY_ID, secretHash: SECRET_HASH, limits: keyLimits, ...times }],
  };
}

export function askOf(requestId: string, from: LocationHint, promptTokens: number): ReserveAsk {
  return {
    requestId,
    from,
    keyId: KEY_ID,
    secretHash: SECRET_HASH,
    endUser: null,
    model: "m",
    promptTokens,
    maxOutputTokens: null,
    choices: 1,
    generates: true,
  };
}
