/**
 * Every way in which a request can fail, and how each is told to a client. States are a tagged union; status,
 * body and headers are decided here and nowhere else. A message never carries a secret, a prompt or an
 * origin's address: what only operators may know goes to the log (`internalDetail`).
 */

export type Dimension =
  | "tokens_per_minute"
  | "tokens_per_day"
  | "requests_per_minute"
  | "concurrent_requests";
export type LimitScope = "tenant" | "key" | "user" | "deployment";

export type Failure =
  // The client's request
  | { tag: "bad_json"; detail: string }
  | { tag: "invalid_field"; param: string; detail: string }
  | { tag: "unknown_field"; param: string }
  | { tag: "forbidden_field"; param: string; detail: string }
  | { tag: "body_too_large"; limitBytes: number }
  | { tag: "unsupported_media_type" }
  | { tag: "route_not_found"; method: string; path: string }
  | { tag: "method_not_allowed"; allowed: string }
  | { tag: "model_not_found"; model: string }
  | { tag: "wrong_model_kind"; model: string; path: string }
  // Who asks
  | { tag: "missing_key" }
  | { tag: "invalid_key" }
  | { tag: "revoked_key" }
  | { tag: "tenant_suspended" }
  | { tag: "address_denied" }
  | { tag: "admin_required" }
  // Budgets
  | {
      tag: "rate_limited";
      scope: LimitScope;
      dimension: Dimension;
      limit: number;
      used: number;
      requested: number;
      retryAfterMs: number;
    }
  | {
      tag: "request_too_large";
      scope: LimitScope;
      dimension: Dimension;
      limit: number;
      requested: number;
    }
  | { tag: "flooded"; retryAfterMs: number }
  | { tag: "budget_unavailable"; retryAfterMs: number; internalDetail: string }
  // Origins
  | { tag: "no_capacity"; model: string; retryAfterMs: number }
  | { tag: "no_region"; model: string }
  | { tag: "edge_busy"; retryAfterMs: number }
  | { tag: "origin_failed"; internalDetail: string }
  | { tag: "origin_refused"; status: number; message: string; param: string | null }
  | { tag: "stream_broken"; internalDetail: string }
  | { tag: "deadline_exceeded" }
  // Administration
  | { tag: "not_found"; what: string }
  | { tag: "already_exists"; what: string }
  | { tag: "conflict"; detail: string }
  | { tag: "version_required" }
  | { tag: "version_mismatch"; current: number }
  | { tag: "gate_forbidden" }
  // Ourselves
  | { tag: "misconfigured"; internalDetail: string }
  | { tag: "internal"; internalDetail: string };

export type ErrorShape = "openai" | "anthropic";

/** An exception that carries a failure through code that cannot return one. */
export class FailureError extends Error {
  readonly failure: Failure;
  constructor(failure: Failure) {
    super(failure.tag);
    this.failure = failure;
  }
}

interface Told {
  readonly status: number;
  readonly type: string;
  readonly code: string | null;
  readonly message: string;
  readonly param?: string | null;
  /** Milliseconds after which the same request may succeed. */
  readonly retryAfterMs?: number;
  /** Overrides what an SDK would do by status alone (`x-should-retry`, read by OpenAI's and Anthropic's). */
  readonly shouldRetry?: boolean;
}

const INVALID = "invalid_request_error";
const UNAVAILABLE = { status: 503, type: "service_unavailable_error", code: "server_is_overloaded" } as const;

const DIMENSION_NAMES: Record<Dimension, string> = {
  tokens_per_minute: "tokens per min (TPM)",
  tokens_per_day: "tokens per day (TPD)",
  requests_per_minute: "requests per min (RPM)",
  concurrent_requests: "concurrent requests",
};

/** What a failure means over HTTP. */
export function told(failure: Failure): Told {
  switch (failure.tag) {
    case "bad_json":
      return {
        status: 400,
        type: INVALID,
        code: "invalid_json",
        message: `The body is not valid JSON: ${failure.detail}`,
      };
    case "invalid_field":
      return {
        status: 400,
        type: INVALID,
        code: "invalid_value",
        message: failure.detail,
        param: failure.param,
      };
    case "unknown_field":
      return {
        status: 400,
        type: INVALID,
        code: "unknown_parameter",
        message: `Unknown parameter: '${failure.param}'.`,
        param: failure.param,
      };
    case "forbidden_field":
      return {
        status: 400,
        type: INVALID,
        code: "forbidden_parameter",
        message: failure.detail,
        param: failure.param,
      };
    case "body_too_large":
      return {
        status: 413,
        type: INVALID,
        code: "body_too_large",
        message: `The body is larger than ${failure.limitBytes} bytes.`,
      };
    case "unsupported_media_type":
      return {
        status: 415,
        type: INVALID,
        code: "unsupported_media_type",
        message: "Send the body as 'content-type: application/json', not compressed.",
      };
    case "route_not_found":
      return {
        status: 404,
        type: INVALID,
        code: "unknown_url",
        message: `Unknown request URL: ${failure.method} ${failure.path}.`,
      };
    case "method_not_allowed":
      return {
        status: 405,
        type: INVALID,
        code: "method_not_allowed",
        message: `Use ${failure.allowed} here.`,
      };
    case "model_not_found":
      return {
        status: 404,
        type: INVALID,
        code: "model_not_found",
        message: `The model '${failure.model}' does not exist or you do not have access to it.`,
        param: "model",
      };
    case "wrong_model_kind":
      return {
        status: 400,
        type: INVALID,
        code: "wrong_model_kind",
        message: `The model '${failure.model}' does not serve ${failure.path}.`,
        param: "model",
      };
    case "missing_key":
      return {
        status: 401,
        type: "authentication_error",
        code: "missing_api_key",
        message: "No API key was given. Send it as 'Authorization: Bearer mrd_…'.",
      };
    case "invalid_key":
    case "revoked_key":
      return {
        status: 401,
        type: "authentication_error",
        code: "invalid_api_key",
        message:
          failure.tag === "invalid_key" ? "Incorrect API key." : "This API key was revoked or has expired.",
      };
    case "tenant_suspended":
      return {
        status: 403,
        type: "permission_error",
        code: "tenant_suspended",
        message: "This account is suspended.",
        shouldRetry: false,
      };
    case "address_denied":
      return {
        status: 403,
        type: "permission_error",
        code: "address_denied",
        message: "Requests from this address are not accepted.",
        shouldRetry: false,
      };
    case "admin_required":
      return {
        status: 401,
        type: "authentication_error",
        code: "admin_key_required",
        message: "This needs the admin key, as 'Authorization: Bearer …'. A tenant's key never works here.",
      };
    case "rate_limited":
      return toldLimit(failure);
    case "request_too_large":
      return {
        status: 429,
        type: "tokens",
        code: "request_too_large",
        message:
          `This request needs ${failure.requested} tokens, more than the ${failure.scope}'s whole limit of ` +
          `${failure.limit} ${DIMENSION_NAMES[failure.dimension]}. It can never be admitted.`,
        shouldRetry: false,
      };
    case "flooded":
      return {
        status: 429,
        type: "requests",
        code: "rate_limit_exceeded",
        message: `Too many requests at once. Please try again in ${(failure.retryAfterMs / 1_000).toFixed(2)}s.`,
        retryAfterMs: failure.retryAfterMs,
      };
    case "budget_unavailable":
      return {
        ...UNAVAILABLE,
        message: "The budget cannot be checked right now.",
        retryAfterMs: failure.retryAfterMs,
      };
    case "no_capacity":
      return {
        ...UNAVAILABLE,
        message: `No region has room for '${failure.model}' right now.`,
        retryAfterMs: failure.retryAfterMs,
      };
    case "no_region":
      return {
        ...UNAVAILABLE,
        message: `No region serves '${failure.model}' right now.`,
        retryAfterMs: 5_000,
      };
    case "edge_busy":
      return {
        ...UNAVAILABLE,
        message: "Too many large requests at once.",
        retryAfterMs: failure.retryAfterMs,
      };
    case "origin_failed":
      return {
        status: 502,
        type: "server_error",
        code: "origin_failed",
        message: "The model's servers failed to answer.",
      };
    case "origin_refused":
      return {
        status: failure.status,
        type: failure.status === 404 ? "not_found_error" : INVALID,
        code: null,
        message: failure.message,
        param: failure.param,
      };
    case "stream_broken":
      return {
        status: 502,
        type: "server_error",
        code: "stream_broken",
        message: "The answer broke off: the model's server failed. What was sent so far is incomplete.",
      };
    case "deadline_exceeded":
      return {
        status: 504,
        type: "timeout_error",
        code: "deadline_exceeded",
        message: "The request took too long.",
      };
    case "not_found":
      return { status: 404, type: INVALID, code: "not_found", message: `There is no ${failure.what}.` };
    case "already_exists":
      return {
        status: 409,
        type: INVALID,
        code: "already_exists",
        message: `There already is a ${failure.what}.`,
      };
    case "conflict":
      return { status: 409, type: INVALID, code: "conflict", message: failure.detail };
    case "version_required":
      return {
        status: 428,
        type: INVALID,
        code: "version_required",
        message: "Send 'If-Match' with the version that you read, so that nobody's change is lost.",
      };
    case "version_mismatch":
      return {
        status: 412,
        type: INVALID,
        code: "version_mismatch",
        message: `It was changed meanwhile: the version is now "${failure.current}".`,
      };
    case "gate_forbidden":
      return {
        status: 403,
        type: "permission_error",
        code: "gate_forbidden",
        message: "Not a gate of this deployment.",
      };
    case "misconfigured":
      return {
        status: 503,
        type: "server_error",
        code: "misconfigured",
        message: "This router is not configured completely; its log says what is missing.",
      };
    case "internal":
      return {
        status: 500,
        type: "server_error",
        code: "internal_error",
        message: "The router failed. It is not your fault.",
      };
  }
}

function toldLimit(failure: Extract<Failure, { tag: "rate_limited" }>): Told {
  const name = DIMENSION_NAMES[failure.dimension];
  const seconds = (failure.retryAfterMs / 1_000).toFixed(2);
  const message =
    `Rate limit reached for this ${failure.scope} on ${name}: Limit ${failure.limit}, Used ${failure.used}, ` +
    `Requested ${failure.requested}. Please try again in ${seconds}s.`;
  if (failure.dimension === "tokens_per_day") {
    // A day's budget frees up slowly: an SDK that retries within seconds only adds load.
    return {
      status: 429,
      type: "insufficient_quota",
      code: "insufficient_quota",
      message,
      retryAfterMs: failure.retryAfterMs,
      shouldRetry: false,
    };
  }
  const type = failure.dimension === "tokens_per_minute" ? "tokens" : "requests";
  return { status: 429, type, code: "rate_limit_exceeded", message, retryAfterMs: failure.retryAfterMs };
}

/** The JSON body of an error in the shape that the endpoint's own SDK understands. */
export function errorBody(failure: Failure, shape: ErrorShape): Record<string, unknown> {
  const { type, code, message, param, status } = told(failure);
  if (shape === "anthropic") return { type: "error", error: { type: anthropicType(status), message } };
  return { error: { message, type, param: param ?? null, code } };
}

/** Anthropic's error types go by status (529 and 503 are `overloaded_error`). */
export function anthropicType(status: number): string {
  if (status === 400) return INVALID;
  if (status === 401) return "authentication_error";
  if (status === 403) return "permission_error";
  if (status === 404) return "not_found_error";
  if (status === 413) return "request_too_large";
  if (status === 429) return "rate_limit_error";
  if (status === 503 || status === 529) return "overloaded_error";
  if (status === 504) return "timeout_error";
  return status < 500 ? INVALID : "api_error";
}

/** `retry-after` in whole seconds, never early; `retry-after-ms` for SDKs that read it. */
export function retryHeaders(failure: Failure): Record<string, string> {
  const { retryAfterMs, shouldRetry } = told(failure);
  const headers: Record<string, string> = {};
  if (retryAfterMs !== undefined) {
    headers["retry-after"] = String(Math.max(1, Math.ceil(retryAfterMs / 1_000)));
    headers["retry-after-ms"] = String(Math.max(1, Math.ceil(retryAfterMs)));
  }
  if (shouldRetry !== undefined) headers["x-should-retry"] = String(shouldRetry);
  return headers;
}

/** The whole answer to a failed request. */
export function errorResponse(failure: Failure, shape: ErrorShape, extra: HeadersInit = {}): Response {
  const headers = new Headers(extra);
  headers.set("content-type", "application/json");
  for (const [name, value] of Object.entries(retryHeaders(failure))) headers.set(name, value);
  if (failure.tag === "method_not_allowed") headers.set("allow", failure.allowed);
  return new Response(JSON.stringify(errorBody(failure, shape)), { status: told(failure).status, headers });
}
