import { z } from "@hono/zod-openapi";
import { BREAKER_OVERRIDE_MAX_MS } from "../../routing/breaker/bounds.ts";
import { BREAKER_CAUSES } from "../../routing/messages/breakers.ts";

/** What the admin API says of breakers, and what it takes. */

const instantMs = z.number().int().describe("Epoch milliseconds.");

export const breakerStateSchema = z.enum(["closed", "open", "half_open"]);
const ofReplica = z.string().nullable().describe("Null: the pool as a whole.");

export const breakerOverrideSchema = z
  .strictObject({
    replica: z.string().min(1).max(128).optional().describe("Absent: the pool as a whole."),
    state: z
      .enum(["open", "closed", "automatic"])
      .describe("Held open, held closed whatever its triggers say, or left to them again."),
    reason: z.string().min(1).max(500).describe("Stands in the audit log and in the list of breakers."),
    expiresInMs: z
      .number()
      .int()
      .min(1_000)
      .max(BREAKER_OVERRIDE_MAX_MS)
      .optional()
      .describe("Then its triggers decide again; absent: it is held until it is taken back."),
  })
  .refine(({ state, expiresInMs }) => state !== "automatic" || expiresInMs === undefined, {
    path: ["expiresInMs"],
    message: "what is automatic does not expire",
  })
  .openapi("BreakerOverride");

export const breakerSchema = z
  .object({
    pool: z.string(),
    model: z.string(),
    state: breakerStateSchema
      .nullable()
      .describe("Of the pool as a whole. Null: the pool's object could not be reached."),
    share: z
      .number()
      .nullable()
      .describe("Share of its normal work that the pool should be given: less than 1 while it comes back."),
    replicas: z
      .array(z.object({ id: z.string(), breaker: breakerStateSchema, usable: z.boolean() }))
      .nullable()
      .describe("Null: the pool's object could not be reached."),
    overrides: z
      .array(
        z.object({
          replica: ofReplica,
          state: z.enum(["open", "closed"]),
          reason: z.string(),
          by: z.string().describe("The first eight characters of the admin key's hash."),
          atMs: instantMs,
          expiresAtMs: instantMs.nullable(),
        }),
      )
      .readonly(),
    transitions: z
      .array(
        z.object({
          replica: ofReplica,
          atMs: instantMs,
          from: breakerStateSchema,
          to: breakerStateSchema,
          cause: z.enum(BREAKER_CAUSES),
        }),
      )
      .readonly()
      .describe("The latest, newest first."),
  })
  .openapi("Breaker");
