import { z } from "@hono/zod-openapi";
import { APPROVAL_DEFAULT_MS, APPROVAL_MAX_MS, OVERRIDE_MAX_MS } from "../../bounds.ts";
import { modelNameSchema, stepSchema } from "../../catalogue.ts";
import { instantMs, modelSchema } from "./schemas.ts";

/** What the admin API takes and answers about steps of the ladder, approvals and rollouts. */

const reason = z.string().min(1).max(500).describe("For the audit log.");

export const overrideInputSchema = z
  .strictObject({
    mode: z.enum(["force", "forbid"]),
    reason,
    expiresInMs: z
      .number()
      .int()
      .min(1_000)
      .max(OVERRIDE_MAX_MS)
      .optional()
      .describe("Absent: until it is taken back."),
  })
  .openapi("OverrideInput");

export const proposalInputSchema = z
  .strictObject({
    model: modelNameSchema,
    step: stepSchema,
    mode: z
      .enum(["allow", "force"])
      .default("allow")
      .describe("'allow': the ladder may take the step where it has to. 'force': it is taken."),
    reason,
  })
  .openapi("ProposalInput");

export const approveInputSchema = z
  .strictObject({
    forMs: z
      .number()
      .int()
      .min(1_000)
      .max(APPROVAL_MAX_MS)
      .default(APPROVAL_DEFAULT_MS)
      .describe("How long it holds."),
  })
  .openapi("ApproveInput");

export const overrideSchema = z
  .object({
    model: z.string(),
    step: stepSchema,
    mode: z.enum(["force", "forbid"]),
    reason: z.string(),
    untilMs: instantMs.nullable().describe("Null: until it is taken back."),
    by: z.string(),
    atMs: instantMs,
  })
  .openapi("Override");

export const approvalSchema = z
  .object({
    id: z.string(),
    model: z.string(),
    step: stepSchema,
    mode: z.enum(["allow", "force"]),
    reason: z.string(),
    state: z.enum(["proposed", "approved", "rejected", "expired"]),
    proposedBy: z.string().describe("The admin key's name; 'meridian': the router itself."),
    proposedAtMs: instantMs,
    decidedBy: z.string().nullable(),
    decidedAtMs: instantMs.nullable(),
    untilMs: instantMs.describe("While proposed: when it lapses. Once approved: when it ends."),
  })
  .openapi("Approval");

export const ladderSchema = z
  .object({
    model: z.string(),
    steps: z.array(
      z.object({
        step: stepSchema,
        stance: z
          .enum(["forced", "allowed", "awaits", "forbidden"])
          .describe("'awaits': it needs an approval, and none is in force."),
        override: overrideSchema.nullable(),
      }),
    ),
  })
  .openapi("Ladder");

export const rolledBackSchema = z.object({ data: z.array(modelSchema) }).openapi("RolledBack");
