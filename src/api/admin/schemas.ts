import { z } from "@hono/zod-openapi";
import { PAGE_MAX } from "../../bounds.ts";
import { keyInputSchema, modelInputSchema, poolInputSchema, tenantInputSchema } from "../../catalogue.ts";
import { usageSchema } from "../../contract/report.ts";
import { POSITION_SOURCES } from "../../routing/geo.ts";
import { BANDS } from "../../routing/messages.ts";
import { EXCLUSIONS } from "../../routing/rank.ts";
import { breakerStateSchema } from "./breaker-schemas.ts";

export { breakerOverrideSchema, breakerSchema } from "./breaker-schemas.ts";

/** What the admin API answers, described for OpenAPI; what it takes is in src/catalogue.ts. */

export const count = z.number().int().min(0);
export const instantMs = z.number().int().describe("Epoch milliseconds.");
const version = z.number().int().describe("For 'If-Match'. Grows with every change; never used twice.");

export const errorSchema = z
  .object({
    error: z.object({
      message: z.string(),
      type: z.string(),
      param: z.string().nullable().describe("The field that is wrong, as in 'limits.tokensPerMinute'."),
      code: z.string().nullable(),
    }),
  })
  .openapi("Error");

export const tenantSchema = answered(tenantInputSchema.shape)
  .extend({
    ref: z.string().describe("Stands in the tenant's keys and names its objects."),
    version,
    createdAtMs: instantMs,
  })
  .openapi("Tenant");

export const keySchema = answered(keyInputSchema.shape)
  .extend({
    id: z.string(),
    tenantId: z.string(),
    createdAtMs: instantMs,
    revokedAtMs: instantMs.nullable(),
    replacedBy: z.string().nullable().describe("After a rotation: the id of the new key."),
  })
  .openapi("Key");

export const newKeySchema = answered(keySchema.shape)
  .extend({ key: z.string().describe("The key itself. It is shown only here, and stored nowhere.") })
  .openapi("NewKey");

export const modelSchema = answered(modelInputSchema.shape)
  .extend({
    held: z
      .object({
        atMs: instantMs,
        why: z.enum(["errors", "latency", "rolled_back"]),
        detail: z.string(),
      })
      .optional()
      .describe("A revision that gets no traffic until its 'revision' is set anew."),
    revisedAtMs: instantMs.optional().describe("When 'revision' was last set."),
    version,
    createdAtMs: instantMs,
  })
  .openapi("Model");

export const poolSchema = answered(poolInputSchema.shape)
  .extend({
    secretVersion: z.number().int().describe("Gates are accepted with this one and the one before."),
    rotating: z.boolean().optional().describe("The secret before the newest signs orders."),
    version,
    createdAtMs: instantMs,
  })
  .openapi("Pool");

export const newPoolSecretSchema = answered(poolSchema.shape)
  .extend({ gateSecret: z.string().describe("For the pool's gates. It is shown only here.") })
  .openapi("PoolWithSecret");

const replicaSchema = z
  .object({
    id: z.string(),
    usable: z.boolean(),
    state: z.enum(["healthy", "draining", "down"]),
    breaker: breakerStateSchema,
    permits: count,
    running: count,
    waiting: count,
    kvCacheUsage: z.number(),
    gpuMemoryUsage: z.number().nullable(),
  })
  .openapi("Replica");

const learnedSchema = z.object({
  value: z.number(),
  count: count.describe("Prompts that it was learned from."),
});

const poolStateSchema = z
  .object({
    atMs: instantMs,
    replicas: z.array(replicaSchema).readonly(),
    capacity: count.describe("Permits that all usable replicas together may have out."),
    inUse: count,
    waiting: count,
    colo: z.string().nullable().describe("Where the pool's object really runs, if it could find out."),
    learned: z
      .object({
        prose: learnedSchema,
        code: learnedSchema,
        cjk: learnedSchema,
        other: learnedSchema,
        frame: learnedSchema,
      })
      .optional()
      .describe(
        "How its engines' counts correct estimates of prompts: factors on the first constants by class of text, and tokens of the chat template beyond those counted.",
      ),
  })
  .openapi("PoolState");

export const livePoolSchema = answered(poolSchema.shape)
  .extend({
    live: z.array(
      z.object({
        model: z.string(),
        state: poolStateSchema.nullable().describe("Null: the pool's object could not be reached."),
      }),
    ),
  })
  .openapi("LivePool");

const levelSchema = z.object({ limit: count, available: z.number() }).nullable();

export const tenantUsageSchema = z
  .object({
    tenantId: z.string(),
    totals: usageSchema.extend({ requests: count }),
    byKey: z
      .array(
        usageSchema.extend({
          keyId: z.string(),
          day: z.string().describe("UTC, as in 2026-11-23."),
          model: z.string(),
          requests: count,
        }),
      )
      .readonly(),
    saved: z
      .array(
        z.object({
          keyId: z.string(),
          day: z.string(),
          model: z.string(),
          requests: count.describe("Answers out of the response cache. They are in 'totals' too."),
          promptTokens: count,
          outputTokens: count,
          weightedTokens: count.describe("What they would have cost, in the tokens of the limits."),
        }),
      )
      .readonly()
      .describe("What the response cache spared the tenant."),
    open: z.object({ reservations: count, running: count, reservedTokens: count }),
    limits: z
      .array(
        z.object({
          scope: z.string(),
          tokensPerMinute: levelSchema,
          tokensPerDay: z.object({ limit: count, used: z.number() }).nullable(),
          requestsPerMinute: levelSchema,
          concurrentRequests: z.object({ limit: count, running: count }).nullable(),
        }),
      )
      .readonly(),
  })
  .openapi("TenantUsage");

export const auditEntrySchema = z
  .object({
    id: z.number().int(),
    atMs: instantMs,
    actor: z
      .string()
      .describe("The admin key's name, or the first eight characters of its hash; 'meridian': the router."),
    requestId: z.string().describe("The 'x-request-id' of the call that did it."),
    action: z.string().describe("As in 'tenant.update'."),
    target: z.string().describe("As in 'tenants/acme'."),
    before: z.record(z.string(), z.unknown()).nullable(),
    after: z.record(z.string(), z.unknown()).nullable(),
  })
  .openapi("AuditEntry");

const place = (what: string) => z.string().max(8).optional().describe(what);
export const quarantineSchema = z
  .object({
    fingerprint: z
      .string()
      .describe("A keyed hash of what the model reads of the request. It tells nothing of the text."),
    state: z.enum(["held", "suspect"]).describe("Held: refused everywhere. Suspect: present at a death."),
    deaths: count.describe("Engines that died with it in the last ten minutes."),
    lastDeathAtMs: instantMs.nullable(),
    offences: count.describe("Times that it was held; each is twice as long as the one before."),
    heldUntilMs: instantMs.nullable(),
  })
  .openapi("QuarantineEntry");

export const explainQuery = z.strictObject({
  model: z.string().min(1).max(256),
  location: z
    .string()
    .max(64)
    .optional()
    .describe(
      "The client's, as in 'EU/48.8/2.35': continent, latitude, longitude. Without any place: the caller's own.",
    ),
  country: place("Instead of a location, a client of whom only this is known: ISO 3166-1, as in 'JP'."),
  continent: place("The same, as in 'AS'."),
  colo: place("The same, by the data centre that it reached, as in 'NRT'."),
  tenant: z.string().min(1).max(256).optional().describe("Applies this tenant's residency rules."),
  promptTokens: z.coerce.number().int().min(0).max(100_000_000).default(0).describe("Of the request."),
  band: z.enum(BANDS).default("default").describe("In which it would wait."),
});

const ms = z.number().describe("Milliseconds.");

const candidateSchema = z
  .object({
    pool: z.string(),
    region: z.string(),
    excluded: z.enum(EXCLUSIONS).nullable(),
    lastResort: z.boolean().describe("Asked although it is excluded, since no other may be."),
    headroom: z.number().nullable().describe("Free permits as a share of all; null: not heard of."),
    share: z.number().describe("The probability that it is asked first."),
    distanceKm: count,
    rttMs: count.describe("'rtt.usedMs' in whole milliseconds."),
    rtt: z.object({
      expectedMs: ms.describe("From the distance."),
      measuredMs: ms.nullable().describe("From relayed requests; null: none was measured."),
      samples: z.number().describe("What the measurements count for; halves in two minutes without one."),
      usedMs: ms,
    }),
    waitMs: ms.describe("Expected wait until a replica takes it."),
    prefillMs: ms.describe("Expected time from there to the first token."),
    predictedMs: ms.describe("What the order goes by: 'rtt.usedMs' + 'waitMs' + 'prefillMs'."),
    stateAgeMs: ms.nullable().describe("How old the pool's word is; null: not heard of."),
  })
  .openapi("Candidate");

export const explanationSchema = z
  .object({
    model: z.string(),
    promptTokens: count,
    band: z.enum(BANDS),
    client: z.object({
      latitude: z.number(),
      longitude: z.number(),
      source: z.enum(POSITION_SOURCES).describe("What the position was taken from."),
    }),
    directory: z.string().describe("The directory that was read, by its location hint."),
    snapshotAgeMs: count,
    candidates: z.array(candidateSchema),
  })
  .openapi("Explanation");

export const documentSchema = z.record(z.string(), z.unknown()).openapi("OpenApiDocument");

/** One page of a list. */
export function pageOf<T extends z.ZodType>(item: T) {
  const nextCursor = z.string().nullable().describe("For 'cursor'; null: this was the last page.");
  return z.object({ data: z.array(item).readonly(), nextCursor });
}

/** A list's query. Cursors of most lists are ids, so a page starts where the one before ended, come what may. */
export function pageQuery(limitMax: number = PAGE_MAX, limitDefault: number = Math.min(50, limitMax)) {
  return z.strictObject({
    cursor: z.string().min(1).max(256).optional().describe("The 'nextCursor' of the page before."),
    limit: z.coerce.number().int().min(1).max(limitMax).default(limitDefault),
  });
}

export const auditQuery = pageQuery().extend({
  cursor: z
    .string()
    .regex(/^\d{1,15}$/, "not a cursor of this list")
    .optional()
    .describe("The 'nextCursor' of the page before."),
});

/** In an answer, a field with a default is always there: OpenAPI has to say "required". */
function answered<S extends z.ZodRawShape>(shape: S): z.ZodObject<S> {
  const fields = Object.entries(shape).map(([name, field]) => [
    name,
    field instanceof z.ZodDefault ? field.unwrap() : field,
  ]);
  return z.object(Object.fromEntries(fields)) as unknown as z.ZodObject<S>;
}
