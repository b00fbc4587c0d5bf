import { z } from "zod";
import { WEIGHT_MAX } from "../bounds.ts";
import { breakerSettingsSchema } from "./breakers.ts";
import { cachePolicySchema, degradePolicySchema, type Hold, revisionSchema } from "./degrade.ts";
import { modelNameSchema } from "./model-name.ts";
import { POLICIES } from "./policy.ts";

/** Models, as operators manage them. */

export { modelNameSchema };

const weight = z.number().int().min(0).max(WEIGHT_MAX);

/** What a model's tokens weigh in every token limit, in thousandths. */
export const weightsSchema = z
  .strictObject({
    input: weight.default(1_000),
    cachedInput: weight.default(1_000).describe("For input that the engine had in its prefix cache."),
    output: weight.default(1_000),
  })
  .meta({ id: "Weights" });
export type Weights = z.infer<typeof weightsSchema>;

export const EVEN_WEIGHTS: Weights = { input: 1_000, cachedInput: 1_000, output: 1_000 };

export const MODEL_KINDS = ["generate", "embed"] as const;

export const modelInputSchema = z
  .strictObject({
    id: modelNameSchema.describe("The name that clients use."),
    kind: z.enum(MODEL_KINDS).default("generate"),
    servedName: modelNameSchema
      .optional()
      .describe("The name under which engines serve it; the same by default."),
    contextTokens: z
      .number()
      .int()
      .min(1)
      .max(100_000_000)
      .optional()
      .describe("Longest prompt plus answer in tokens; requests beyond it are refused by the engine."),
    weights: weightsSchema
      .optional()
      .describe(
        "What its tokens weigh in token limits, in thousandths; one token each by default. With prices as weights, limits are money.",
      ),
    firstTokenTimeoutMs: z.number().int().min(100).max(120_000).optional(),
    tokenGapTimeoutMs: z.number().int().min(100).max(120_000).optional(),
    firstTokenTargetMs: z
      .number()
      .int()
      .min(100)
      .max(60_000)
      .optional()
      .describe(
        "A request without a deadline of its own is not queued where its first token would come later; absent: it waits.",
      ),
    policy: z
      .enum(POLICIES)
      .optional()
      .describe("How pools choose a replica for its requests; `predicted-ttft` where absent."),
    hedge: z
      .boolean()
      .optional()
      .describe(
        "A stream whose first token is later than 95 of 100 gets a second call elsewhere; the first to answer serves.",
      ),
    breakers: breakerSettingsSchema
      .optional()
      .describe("When the breakers of its replicas and pools open; the defaults where absent."),
    cache: cachePolicySchema
      .optional()
      .describe("Answers may be kept, for tenants that agreed to it; absent: none are."),
    degrade: degradePolicySchema
      .optional()
      .describe("What may be done when it cannot be served as asked; absent: only other regions."),
    revision: revisionSchema
      .optional()
      .describe("Makes it a revision of another model: clients get it in that one's name only."),
  })
  .meta({ id: "ModelInput" });
export type ModelInput = z.infer<typeof modelInputSchema>;

/** A change names only what changes; null takes a setting back. */
export const modelPatchSchema = z
  .strictObject({
    kind: z.enum(MODEL_KINDS).optional(),
    servedName: modelInputSchema.shape.servedName.nullable(),
    contextTokens: modelInputSchema.shape.contextTokens.nullable(),
    weights: weightsSchema.nullable().optional(),
    firstTokenTimeoutMs: modelInputSchema.shape.firstTokenTimeoutMs.nullable(),
    tokenGapTimeoutMs: modelInputSchema.shape.tokenGapTimeoutMs.nullable(),
    firstTokenTargetMs: modelInputSchema.shape.firstTokenTargetMs.nullable(),
    policy: modelInputSchema.shape.policy.nullable(),
    hedge: modelInputSchema.shape.hedge.nullable(),
    breakers: breakerSettingsSchema.nullable().optional(),
    cache: modelInputSchema.shape.cache.nullable(),
    degrade: modelInputSchema.shape.degrade.nullable(),
    revision: modelInputSchema.shape.revision.nullable(),
  })
  .meta({ id: "ModelPatch" });
export type ModelPatch = z.infer<typeof modelPatchSchema>;

export interface Model extends ModelInput {
  /** The version of the catalogue in which it last changed. */
  readonly version: number;
  readonly createdAtMs: number;
  /** Only of a revision: it gets no traffic, whatever its weight says. */
  readonly held?: Hold;
  /** When its `revision` was last set: it is judged by what came after. */
  readonly revisedAtMs?: number;
}
