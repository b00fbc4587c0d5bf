import { z } from "zod";
import { DAY_MS, KEY_OVERLAP_DEFAULT_MS, LIMIT_MAX } from "./bounds.ts";
import { type Band, bandSchema } from "./catalogue/band.ts";
import type { Control } from "./catalogue/degrade.ts";
import { type Model, modelNameSchema } from "./catalogue/model.ts";
import { LOCATION_HINTS, limit, regionNameSchema, tenantIdSchema } from "./catalogue/names.ts";
import type { Pool } from "./catalogue/pool.ts";

export * from "./catalogue/band.ts";
export * from "./catalogue/breakers.ts";
export * from "./catalogue/degrade.ts";
export * from "./catalogue/model.ts";
export * from "./catalogue/names.ts";
export * from "./catalogue/place.ts";
export * from "./catalogue/pool.ts";

/**
 * What operators manage: tenants, keys, models, pools, settings. The same schemas check the admin API, describe it
 * in OpenAPI and type what the objects hold. `id` in `meta` is the schema's name in OpenAPI.
 */

/** Absent means: no limit of this kind at this level. */
export const limitsSchema = z
  .strictObject({
    tokensPerMinute: limit.optional(),
    tokensPerDay: limit.optional(),
    requestsPerMinute: limit.optional(),
    concurrentRequests: limit.optional(),
  })
  .meta({ id: "Limits" });
export type Limits = z.infer<typeof limitsSchema>;

/** What a tenant gets whose operator set no limits: a personal user's share (DESIGN §5). */
export const DEFAULT_TENANT_LIMITS: Limits = {
  tokensPerMinute: 1_000,
  tokensPerDay: 50_000,
  requestsPerMinute: 60,
  concurrentRequests: 10,
};

const softAllowance = z.number().int().min(0).max(LIMIT_MAX);

/** What happens to a running stream whose budget is used up: end it, or let it run and pay first thing later. */
export const overdraftPolicySchema = z.enum(["stop", "debt"]);
export type OverdraftPolicy = z.infer<typeof overdraftPolicySchema>;

export const tenantInputSchema = z
  .strictObject({
    id: tenantIdSchema,
    name: z.string().min(1).max(200),
    limits: limitsSchema.default(DEFAULT_TENANT_LIMITS),
    endUserLimits: limitsSchema
      .default({})
      .describe("For each end user that a request names; none by default."),
    models: z
      .array(modelNameSchema)
      .max(256)
      .optional()
      .describe("Models that its keys may use; absent means all."),
    regions: z
      .array(regionNameSchema)
      .max(256)
      .optional()
      .describe("Regions that its requests may run in; absent means all."),
    overdraft: overdraftPolicySchema.default("debt"),
    responseCache: z
      .boolean()
      .optional()
      .describe("Whether answers to its requests may be kept, for models that have a cache; absent: no."),
    /**
     * Tokens that each location may admit beyond its lease while the tenant's home cannot be reached. They are settled as
     * debt when it returns. 0: nothing is admitted that the budget cannot prove.
     */
    softAllowanceTokens: softAllowance.default(0),
    homeHint: z
      .enum(LOCATION_HINTS)
      .default("enam")
      .describe(
        "Where its budget lives: beside most of its users. Cannot be changed later: it is part of its keys.",
      ),
    suspended: z.boolean().default(false),
  })
  .meta({ id: "TenantInput" });
export type TenantInput = z.infer<typeof tenantInputSchema>;

/** A change names only what changes. */
export const tenantPatchSchema = z
  .strictObject({
    name: z.string().min(1).max(200).optional(),
    limits: limitsSchema.optional(),
    endUserLimits: limitsSchema.optional(),
    models: z.array(modelNameSchema).max(256).nullable().optional(),
    regions: z.array(regionNameSchema).max(256).nullable().optional(),
    overdraft: overdraftPolicySchema.optional(),
    responseCache: z.boolean().optional(),
    softAllowanceTokens: softAllowance.optional(),
    suspended: z.boolean().optional(),
  })
  .meta({ id: "TenantPatch" });
export type TenantPatch = z.infer<typeof tenantPatchSchema>;

export interface Tenant extends TenantInput {
  /** Eleven base62 digits derived from the id: names its objects, and stands in its keys. */
  readonly ref: string;
  /** Grows with every change, of whichever tenant; never used twice, also not after a deletion. */
  readonly version: number;
  readonly createdAtMs: number;
}

export const keyInputSchema = z
  .strictObject({
    name: z.string().min(1).max(200).default("key"),
    limits: limitsSchema.default({}),
    expiresAtMs: z.number().int().positive().optional().describe("Epoch milliseconds; absent: never."),
    priority: bandSchema
      .optional()
      .describe("The most urgent band of the queue that its requests may claim; `default` where absent."),
    defaultPriority: bandSchema
      .optional()
      .describe(
        "The band of its requests that claim none; absent: `default`, or `batch` where that is all it may.",
      ),
  })
  .meta({ id: "KeyInput" });
export type KeyInput = z.infer<typeof keyInputSchema>;

export const keyRotationSchema = z
  .strictObject({
    overlapMs: z
      .number()
      .int()
      .min(0)
      .max(90 * DAY_MS)
      .default(KEY_OVERLAP_DEFAULT_MS)
      .describe("The old key works this much longer; 0 ends it at once."),
  })
  .meta({ id: "KeyRotation" });
export type KeyRotation = z.infer<typeof keyRotationSchema>;

export interface ApiKey extends KeyInput {
  readonly id: string;
  readonly tenantId: string;
  readonly createdAtMs: number;
  readonly revokedAtMs: number | null;
  /** Set on the old key by a rotation: the id of the new one. The old one works until it expires. */
  readonly replacedBy: string | null;
}

/** What a tenant's budget object holds of it: all that admission needs, nothing else. */
export interface TenantRecord {
  readonly tenant: Tenant;
  readonly keys: readonly KeyRecord[];
}
export interface KeyRecord {
  readonly id: string;
  /** SHA-256 of the key's secret field, base64url. The secret itself is stored nowhere. */
  readonly secretHash: string;
  readonly limits: Limits;
  readonly expiresAtMs: number | null;
  readonly revokedAtMs: number | null;
  readonly priority?: Band;
  readonly defaultPriority?: Band;
}

/** Everything routing needs to know that operators decide; versioned as a whole. */
export interface Catalogue {
  readonly version: number;
  readonly models: readonly Model[];
  readonly pools: readonly Pool[];
  /** Absent while no engine has died of late. */
  readonly quarantine?: Quarantine;
  /** What humans have decided about steps of the ladder; absent from a registry of a version before. */
  readonly controls?: readonly Control[];
}

/** Requests that may be why engines died, by their fingerprints (routing/quarantine.ts). */
export interface Quarantine {
  /** Refused until then (epoch milliseconds). */
  readonly held: readonly { readonly fingerprint: string; readonly untilMs: number }[];
  /** Present at a death: should one complete, its gate says so. */
  readonly suspects: readonly string[];
}
