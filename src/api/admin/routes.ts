import { createRoute, z } from "@hono/zod-openapi";
import {
  keyInputSchema,
  keyRotationSchema,
  modelInputSchema,
  modelPatchSchema,
  poolInputSchema,
  poolPatchSchema,
  tenantInputSchema,
  tenantPatchSchema,
} from "../../catalogue.ts";
import { answer, body, error, expected, id, maybeExpected, one, oneKey, removed } from "./route-parts.ts";
import * as schemas from "./schemas.ts";

/** Every route of the admin API: the same definitions check requests and make the OpenAPI document. */

/** Pools asked at once for their breakers: each of their models is one call to an object. */
const BREAKER_PAGE_MAX = 20;

export const tenants = {
  create: createRoute({
    method: "post",
    path: "/tenants",
    summary: "Create a tenant",
    request: { body: body(tenantInputSchema) },
    responses: { 201: answer(schemas.tenantSchema, "The tenant."), ...error },
  }),
  list: createRoute({
    method: "get",
    path: "/tenants",
    summary: "List tenants by id",
    request: { query: schemas.pageQuery() },
    responses: { 200: answer(schemas.pageOf(schemas.tenantSchema), "A page."), ...error },
  }),
  get: createRoute({
    method: "get",
    path: "/tenants/{id}",
    summary: "Read a tenant",
    request: { params: one },
    responses: { 200: answer(schemas.tenantSchema, "The tenant."), ...error },
  }),
  update: createRoute({
    method: "patch",
    path: "/tenants/{id}",
    summary: "Change a tenant: what the body names; null takes 'models' or 'regions' back",
    request: { params: one, headers: expected, body: body(tenantPatchSchema) },
    responses: { 200: answer(schemas.tenantSchema, "The tenant as it is now."), ...error },
  }),
  remove: createRoute({
    method: "delete",
    path: "/tenants/{id}",
    summary: "Delete a tenant; its keys stop to work",
    request: { params: one, headers: maybeExpected },
    responses: removed,
  }),
  usage: createRoute({
    method: "get",
    path: "/tenants/{id}/usage",
    summary: "What a tenant used, holds open, and has left",
    request: { params: one },
    responses: { 200: answer(schemas.tenantUsageSchema, "Its usage."), ...error },
  }),
};

export const keys = {
  create: createRoute({
    method: "post",
    path: "/tenants/{id}/keys",
    summary: "Create a key; the only answer that shows it",
    request: { params: one, body: body(keyInputSchema) },
    responses: { 201: answer(schemas.newKeySchema, "The key."), ...error },
  }),
  list: createRoute({
    method: "get",
    path: "/tenants/{id}/keys",
    summary: "List a tenant's keys",
    request: { params: one, query: schemas.pageQuery() },
    responses: { 200: answer(schemas.pageOf(schemas.keySchema), "A page."), ...error },
  }),
  revoke: createRoute({
    method: "delete",
    path: "/tenants/{id}/keys/{keyId}",
    summary: "Revoke a key",
    request: { params: oneKey },
    responses: removed,
  }),
  rotate: createRoute({
    method: "post",
    path: "/tenants/{id}/keys/{keyId}/rotate",
    summary: "Replace a key by a new one like it; the old one works for a while longer",
    request: { params: oneKey, body: { ...body(keyRotationSchema), required: false } },
    responses: { 201: answer(schemas.newKeySchema, "The new key."), ...error },
  }),
};

export const models = {
  create: createRoute({
    method: "post",
    path: "/models",
    summary: "Create a model",
    request: { body: body(modelInputSchema) },
    responses: { 201: answer(schemas.modelSchema, "The model."), ...error },
  }),
  list: createRoute({
    method: "get",
    path: "/models",
    summary: "List models by id",
    request: { query: schemas.pageQuery() },
    responses: { 200: answer(schemas.pageOf(schemas.modelSchema), "A page."), ...error },
  }),
  get: createRoute({
    method: "get",
    path: "/models/{id}",
    summary: "Read a model; a slash in its id is written %2F",
    request: { params: one },
    responses: { 200: answer(schemas.modelSchema, "The model."), ...error },
  }),
  update: createRoute({
    method: "patch",
    path: "/models/{id}",
    summary: "Change a model: what the body names; null takes a setting back",
    request: { params: one, headers: expected, body: body(modelPatchSchema) },
    responses: { 200: answer(schemas.modelSchema, "The model as it is now."), ...error },
  }),
  remove: createRoute({
    method: "delete",
    path: "/models/{id}",
    summary: "Delete a model that no pool serves any more",
    request: { params: one, headers: maybeExpected },
    responses: removed,
  }),
};

export const pools = {
  create: createRoute({
    method: "post",
    path: "/pools",
    summary: "Create a pool; the answer shows its gates' secret",
    request: { body: body(poolInputSchema) },
    responses: { 201: answer(schemas.newPoolSecretSchema, "The pool."), ...error },
  }),
  list: createRoute({
    method: "get",
    path: "/pools",
    summary: "List pools by id",
    request: { query: schemas.pageQuery() },
    responses: { 200: answer(schemas.pageOf(schemas.poolSchema), "A page."), ...error },
  }),
  get: createRoute({
    method: "get",
    path: "/pools/{id}",
    summary: "Read a pool and how its replicas are now",
    request: { params: one },
    responses: { 200: answer(schemas.livePoolSchema, "The pool."), ...error },
  }),
  update: createRoute({
    method: "patch",
    path: "/pools/{id}",
    summary: "Change a pool: what the body names; null takes 'tokensPerSecond' back",
    request: { params: one, headers: expected, body: body(poolPatchSchema) },
    responses: { 200: answer(schemas.poolSchema, "The pool as it is now."), ...error },
  }),
  remove: createRoute({
    method: "delete",
    path: "/pools/{id}",
    summary: "Delete a pool",
    request: { params: one, headers: maybeExpected },
    responses: removed,
  }),
  rotateSecret: createRoute({
    method: "post",
    path: "/pools/{id}/rotate-secret",
    summary:
      "Make a new secret for the pool's gates; the one before signs orders until the rotation is ended",
    request: { params: one },
    responses: { 200: answer(schemas.newPoolSecretSchema, "The pool."), ...error },
  }),
  endRotation: createRoute({
    method: "post",
    path: "/pools/{id}/end-rotation",
    summary: "All gates have the new secret: it signs orders from now on",
    request: { params: one },
    responses: { 200: answer(schemas.poolSchema, "The pool."), ...error },
  }),
};

export const breakers = {
  list: createRoute({
    method: "get",
    path: "/breakers",
    summary: "List breakers, by pool and model",
    request: { query: schemas.pageQuery(BREAKER_PAGE_MAX) },
    responses: { 200: answer(schemas.pageOf(schemas.breakerSchema), "The pools of a page."), ...error },
  }),
  override: createRoute({
    method: "post",
    path: "/breakers/{pool}/{model}",
    summary:
      "Hold a breaker open or closed, or leave it to its triggers; a slash in the model is written %2F",
    request: { params: z.object({ pool: id, model: id }), body: body(schemas.breakerOverrideSchema) },
    responses: { 200: answer(schemas.breakerSchema, "The breakers as they are now."), ...error },
  }),
};

export const operations = {
  explain: createRoute({
    method: "get",
    path: "/explain",
    summary: "Say where a request would run and why: every pool, best first",
    request: { query: schemas.explainQuery },
    responses: { 200: answer(schemas.explanationSchema, "The ranking."), ...error },
  }),
  audit: createRoute({
    method: "get",
    path: "/audit",
    summary: "List changes, newest first",
    request: { query: schemas.auditQuery },
    responses: { 200: answer(schemas.pageOf(schemas.auditEntrySchema), "A page."), ...error },
  }),
  quarantine: createRoute({
    method: "get",
    path: "/quarantine",
    summary: "List requests that engines died with, by fingerprint: those that are refused, and suspects",
    request: { query: schemas.pageQuery() },
    responses: { 200: answer(schemas.pageOf(schemas.quarantineSchema), "A page."), ...error },
  }),
  release: createRoute({
    method: "delete",
    path: "/quarantine/{fingerprint}",
    summary: "Let a request go again; nothing of it is remembered",
    request: { params: z.object({ fingerprint: id }) },
    responses: removed,
  }),
  openapi: createRoute({
    method: "get",
    path: "/openapi.json",
    summary: "This document",
    responses: { 200: answer(schemas.documentSchema, "OpenAPI 3.1."), ...error },
  }),
};
