import { z } from "zod";
import { GATES_PER_POOL_MAX, POOL_DRAIN_MAX_MS } from "../bounds.ts";
import { modelNameSchema } from "./model.ts";
import { LOCATION_HINTS, limit, poolIdSchema, regionNameSchema } from "./names.ts";

/** Pools, as operators manage them. */

/** An origin's address comes from an operator and from nowhere else. */
const gateUrl = z
  .string()
  .max(512)
  .regex(/^https?:\/\/[^/?#@\s]+$/, "gate URL: scheme and host only, as in https://gate.example.net");

function isSet(names: readonly string[]): boolean {
  return new Set(names).size === names.length;
}

const positionSchema = z.strictObject({
  latitude: z.number().min(-90).max(90),
  longitude: z.number().min(-180).max(180),
});

export const poolInputSchema = z
  .strictObject({
    id: poolIdSchema.describe("One pool: the replicas behind one region's gates."),
    region: regionNameSchema,
    position: positionSchema,
    hint: z.enum(LOCATION_HINTS).describe("Where the pool's objects live: beside its GPUs."),
    gates: z
      .array(gateUrl)
      .min(1)
      .max(GATES_PER_POOL_MAX)
      .refine((gates) => isSet(gates), "the same gate twice"),
    models: z
      .array(
        z.strictObject({
          model: modelNameSchema,
          concurrencyPerReplica: z
            .number()
            .int()
            .min(1)
            .max(10_000)
            .default(10)
            .describe("Requests that one replica takes at once."),
        }),
      )
      .min(1)
      .max(64)
      .refine((models) => isSet(models.map((entry) => entry.model)), "the same model twice"),
    tokensPerSecond: limit
      .optional()
      .describe(
        "Tokens per second that the whole pool may serve, as metered by its gates; absent: no such limit.",
      ),
    drained: z
      .boolean()
      .default(false)
      .describe("Takes no new requests, and hands over the streams that outlast 'drainMs'."),
    drainMs: z
      .number()
      .int()
      .min(0)
      .max(POOL_DRAIN_MAX_MS)
      .optional()
      .describe(
        "Once it is drained its streams run on for so long; those that others can carry on are handed over, spread over the second half of it. 120000 by default.",
      ),
  })
  .meta({ id: "PoolInput" });
export type PoolInput = z.infer<typeof poolInputSchema>;

/**
 * A change names only what changes; null takes a setting back. Written out, because `partial()` would keep the
 * defaults: a change that does not mention `drained` would put a drained pool back to work.
 */
export const poolPatchSchema = z
  .strictObject({
    region: regionNameSchema.optional(),
    position: positionSchema.optional(),
    hint: z.enum(LOCATION_HINTS).optional(),
    gates: poolInputSchema.shape.gates.optional(),
    models: poolInputSchema.shape.models.optional(),
    tokensPerSecond: limit.nullable().optional(),
    drained: z.boolean().optional(),
    drainMs: poolInputSchema.shape.drainMs.nullable(),
  })
  .meta({ id: "PoolPatch" });
export type PoolPatch = z.infer<typeof poolPatchSchema>;

export interface Pool extends PoolInput {
  /** The newest version of the gates' secret. What it or the one before signed is accepted. */
  readonly secretVersion: number;
  /** From a rotation until its end: some gates do not have the newest secret yet. */
  readonly rotating?: boolean;
  readonly version: number;
  readonly createdAtMs: number;
}

/** The version of the secret that signs orders for a pool's gates: one that all of them have. */
export function signingVersion(pool: Pool): number {
  return pool.rotating ? pool.secretVersion - 1 : pool.secretVersion;
}
