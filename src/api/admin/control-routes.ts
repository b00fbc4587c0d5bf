import { createRoute } from "@hono/zod-openapi";
import { stepSchema } from "../../catalogue.ts";
import * as controlSchemas from "./control-schemas.ts";
import { answer, body, error, one, removed } from "./route-parts.ts";
import * as schemas from "./schemas.ts";

/** Routes of the ladder, approvals and rollouts. */

const oneStep = one.extend({ step: stepSchema });

export const controls = {
  list: createRoute({
    method: "get",
    path: "/models/{id}/degrade",
    summary: "How each step of a model's ladder stands now",
    request: { params: one },
    responses: { 200: answer(controlSchemas.ladderSchema, "The ladder."), ...error },
  }),
  override: createRoute({
    method: "put",
    path: "/models/{id}/degrade/{step}",
    summary: "Force or forbid a step; forcing one that needs approval only proposes it (202)",
    request: { params: oneStep, body: body(controlSchemas.overrideInputSchema) },
    responses: {
      200: answer(controlSchemas.overrideSchema, "It is in force."),
      202: answer(controlSchemas.approvalSchema, "It waits for somebody else's approval."),
      ...error,
    },
  }),
  clear: createRoute({
    method: "delete",
    path: "/models/{id}/degrade/{step}",
    summary: "Take an override back: the model's policy stands again",
    request: { params: oneStep },
    responses: removed,
  }),
  rollBack: createRoute({
    method: "post",
    path: "/models/{id}/rollback",
    summary: "Take all traffic from a model's revisions, or from the one that is named",
    request: { params: one },
    responses: { 200: answer(controlSchemas.rolledBackSchema, "The revisions."), ...error },
  }),
};

export const approvals = {
  list: createRoute({
    method: "get",
    path: "/approvals",
    summary: "List approvals, newest first",
    request: { query: schemas.pageQuery() },
    responses: { 200: answer(schemas.pageOf(controlSchemas.approvalSchema), "A page."), ...error },
  }),
  propose: createRoute({
    method: "post",
    path: "/approvals",
    summary: "Propose a step that needs approval; the router does so itself when it misses one",
    request: { body: body(controlSchemas.proposalInputSchema) },
    responses: {
      201: answer(controlSchemas.approvalSchema, "The proposal, or the one there was."),
      ...error,
    },
  }),
  approve: createRoute({
    method: "post",
    path: "/approvals/{id}/approve",
    summary: "Say yes to what somebody else proposed, for a while",
    request: { params: one, body: { ...body(controlSchemas.approveInputSchema), required: false } },
    responses: { 200: answer(controlSchemas.approvalSchema, "It is in force."), ...error },
  }),
  reject: createRoute({
    method: "post",
    path: "/approvals/{id}/reject",
    summary: "Say no, take one's own proposal back, or end an approval that is in force",
    request: { params: one },
    responses: { 200: answer(controlSchemas.approvalSchema, "It is over."), ...error },
  }),
};
