import { REQUEST_DEADLINE_MS } from "../bounds.ts";
import type { OriginOrder } from "../contract/origin-token.ts";
import type { JsonObject, Mode, Prepared } from "./endpoint.ts";
import type { RequestFields } from "./schema.ts";

/** The fields of a client's body that an engine may see, as a new object. Null means absent and is left out. */
export function engineFields(body: JsonObject, fields: RequestFields): JsonObject {
  const picked: JsonObject = {};
  for (const name of Object.keys(fields.passes)) {
    const value = Object.hasOwn(body, name) ? body[name] : undefined;
    if (value !== undefined && value !== null) picked[name] = value;
  }
  return picked;
}

/** Sets what the order decides on every endpoint: the served model, and the salt that keeps tenants' caches apart. */
export function applyOrder(body: JsonObject, order: OriginOrder): JsonObject {
  body.model = order.servedModel;
  body.cache_salt = order.cacheSalt;
  return body;
}

/** Forces the order's output limit into `field`, never above the client's own. `min_tokens` follows it down. */
export function clampOutput(
  body: JsonObject,
  field: string,
  own: number | null,
  ordered: number | null,
): JsonObject {
  const limit = ordered === null ? own : Math.min(ordered, own ?? ordered);
  if (limit === null) return body;
  body[field] = limit;
  if (typeof body.min_tokens === "number" && body.min_tokens > limit) body.min_tokens = limit;
  return body;
}

/** The engine's body for a mode, where an engine can tell the usage so far in every frame of its stream. */
export function metered(engine: JsonObject, mode: Mode): Prepared {
  if (mode === "whole") {
    delete engine.stream;
  } else {
    engine.stream = true;
    engine.stream_options = { include_usage: true, continuous_usage_stats: true };
  }
  return { mode, body: engine };
}

/** What a body says as a number, or null. For bodies that `parse` has accepted. */
export function numberOf(value: unknown): number | null {
  return typeof value === "number" ? value : null;
}

/**
 * Seconds since 1970 for an answer of which no engine has said when it was made. Pure code has no clock; the edge counts the
 * order's deadline from the arrival of the request.
 */
export function createdSeconds(order: OriginOrder): number {
  return Math.floor((order.deadlineMs - REQUEST_DEADLINE_MS) / 1_000);
}
