import { z } from "zod";
import {
  CACHE_ENTRY_DEFAULT_BYTES,
  CACHE_ENTRY_MAX_BYTES,
  CACHE_STALE_MAX_S,
  CACHE_TTL_MAX_S,
  DEGRADE_WAIT_DEFAULT_MS,
  OUTPUT_TOKENS_MAX,
  POOL_WAIT_MAX_MS,
  ROLLOUT_ERROR_RATE_DEFAULT,
  ROLLOUT_LATENCY_RATIO_DEFAULT,
  WEIGHT_WHOLE,
} from "../bounds.ts";
import { modelNameSchema } from "./model-name.ts";

/** What a model may do when it cannot be served as asked, and how its revisions share its traffic. */

/** The ladder, from the top. `refuse` is its end: 503. */
export const STEPS = ["cache", "region", "model", "max-tokens", "refuse"] as const;
export type Step = (typeof STEPS)[number];
export const stepSchema = z.enum(STEPS);

/** Steps that may wait for a human's yes. The end of the ladder waits for nobody. */
const approvable = z.enum(["cache", "region", "model", "max-tokens"]);

export const cachePolicySchema = z
  .strictObject({
    ttlSeconds: z
      .number()
      .int()
      .min(1)
      .max(CACHE_TTL_MAX_S)
      .describe("How long an answer stands for a request that is the same."),
    staleIfErrorSeconds: z
      .number()
      .int()
      .min(0)
      .max(CACHE_STALE_MAX_S)
      .default(0)
      .describe("How much longer it may be served where no region can answer."),
    maxBytes: z.number().int().min(1_024).max(CACHE_ENTRY_MAX_BYTES).default(CACHE_ENTRY_DEFAULT_BYTES),
    sampled: z
      .boolean()
      .default(false)
      .describe("Also for requests whose answers differ from time to time (temperature above 0)."),
  })
  .meta({ id: "CachePolicy" });
export type CachePolicy = z.infer<typeof cachePolicySchema>;

export const degradePolicySchema = z
  .strictObject({
    smallerModel: modelNameSchema
      .optional()
      .describe("Answers where this one cannot, at its own weights, for tenants that may use it."),
    maxTokens: z
      .number()
      .int()
      .min(1)
      .max(OUTPUT_TOKENS_MAX)
      .optional()
      .describe("Most output tokens per choice while every region is full."),
    waitMs: z
      .number()
      .int()
      .min(0)
      .max(POOL_WAIT_MAX_MS)
      .default(DEGRADE_WAIT_DEFAULT_MS)
      .describe("How long a request waits for a place before the next step is taken."),
    needsApproval: z
      .array(approvable)
      .max(approvable.options.length)
      .default([])
      .describe("Steps that are taken only while an approval is in force."),
  })
  .meta({ id: "DegradePolicy" });
export type DegradePolicy = z.infer<typeof degradePolicySchema>;

const share = z.number().int().min(0).max(WEIGHT_WHOLE);

export const revisionSchema = z
  .strictObject({
    of: modelNameSchema.describe("The model that this one is a revision of. Clients ask for that one."),
    weight: share.default(0).describe("Its share of that model's sessions, in thousandths."),
    shadow: share
      .default(0)
      .describe("Share of that model's requests that it gets a copy of, in thousandths; never charged."),
    errorRate: z
      .number()
      .min(0)
      .max(1)
      .default(ROLLOUT_ERROR_RATE_DEFAULT)
      .describe("It is held when its error rate is above its baseline's by more than this."),
    latencyRatio: z
      .number()
      .min(1)
      .max(100)
      .default(ROLLOUT_LATENCY_RATIO_DEFAULT)
      .describe("It is held when its P95 of time to first token is above its baseline's times this."),
  })
  .meta({ id: "Revision" });
export type Revision = z.infer<typeof revisionSchema>;

/** Set by the router: the revision gets no traffic until an operator sets its `revision` anew. */
export interface Hold {
  readonly atMs: number;
  readonly why: "errors" | "latency" | "rolled_back";
  readonly detail: string;
}

/** What a human has decided about one step, as the edge needs it. An end needs no message: everybody has a clock. */
export interface Control {
  readonly model: string;
  readonly step: Step;
  readonly mode: "force" | "forbid" | "allow";
  /** Epoch milliseconds; null: until it is taken back. */
  readonly untilMs: number | null;
}
