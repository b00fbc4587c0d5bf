import type { Dimension, Failure } from "./failure.ts";

/** What each failure means over HTTP: status, OpenAI's type and code, and what the client reads. */
export interface Told {
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

/** openai-node's client.ts: a longer `retry-after` is ignored. */
const SDK_WAIT_MAX_MS = 60_000;

type Tag = Failure["tag"];
type Tellers = { readonly [T in Tag]: (failure: Extract<Failure, { tag: T }>) => Told };

const TELL: Tellers = {
  bad_json: (failure) => ({
    status: 400,
    type: INVALID,
    code: "invalid_json",
    message: `The body is not valid JSON: ${failure.detail}`,
  }),
  invalid_field: (failure) => ({
    status: 400,
    type: INVALID,
    code: "invalid_value",
    message: failure.detail,
    param: failure.param,
  }),
  unknown_field: (failure) => ({
    status: 400,
    type: INVALID,
    code: "unknown_parameter",
    message: `Unknown parameter: '${failure.param}'.`,
    param: failure.param,
  }),
  forbidden_field: (failure) => ({
    status: 400,
    type: INVALID,
    code: "forbidden_parameter",
    message: failure.detail,
    param: failure.param,
  }),
  body_too_large: (failure) => ({
    status: 413,
    type: INVALID,
    code: "body_too_large",
    message: `The body is larger than ${failure.limitBytes} bytes.`,
  }),
  body_too_slow: () => ({
    status: 408,
    type: INVALID,
    code: "body_too_slow",
    message: "The body did not arrive in time.",
  }),
  unsupported_media_type: () => ({
    status: 415,
    type: INVALID,
    code: "unsupported_media_type",
    message: "Send the body as 'content-type: application/json', not compressed.",
  }),
  route_not_found: (failure) => ({
    status: 404,
    type: INVALID,
    code: "unknown_url",
    message: `Unknown request URL: ${failure.method} ${failure.path}.`,
  }),
  method_not_allowed: (failure) => ({
    status: 405,
    type: INVALID,
    code: "method_not_allowed",
    message: `Use ${failure.allowed} here.`,
  }),
  model_not_found: (failure) => ({
    status: 404,
    type: INVALID,
    code: "model_not_found",
    message: `The model '${failure.model}' does not exist or you do not have access to it.`,
    param: "model",
  }),
  wrong_model_kind: (failure) => ({
    status: 400,
    type: INVALID,
    code: "wrong_model_kind",
    message: `The model '${failure.model}' does not serve ${failure.path}.`,
    param: "model",
  }),
  missing_key: () => ({
    status: 401,
    type: "authentication_error",
    code: "missing_api_key",
    message: "No API key was given. Send it as 'Authorization: Bearer mrd_…'.",
  }),
  invalid_key: () => ({
    status: 401,
    type: "authentication_error",
    code: "invalid_api_key",
    message: "Incorrect API key.",
  }),
  revoked_key: () => ({
    status: 401,
    type: "authentication_error",
    code: "invalid_api_key",
    message: "This API key was revoked or has expired.",
  }),
  tenant_suspended: () => ({
    status: 403,
    type: "permission_error",
    code: "tenant_suspended",
    message: "This account is suspended.",
    shouldRetry: false,
  }),
  address_denied: () => ({
    status: 403,
    type: "permission_error",
    code: "address_denied",
    message: "Requests from this address are not accepted.",
    shouldRetry: false,
  }),
  admin_required: () => ({
    status: 401,
    type: "authentication_error",
    code: "admin_key_required",
    message: "This needs the admin key, as 'Authorization: Bearer …'. A tenant's key never works here.",
  }),
  rate_limited: toldLimit,
  request_too_large: (failure) => ({
    status: 429,
    type: "tokens",
    code: "request_too_large",
    message:
      `This request needs ${failure.requested} tokens, more than the ${failure.scope}'s whole limit of ` +
      `${failure.limit} ${DIMENSION_NAMES[failure.dimension]}. It can never be admitted.`,
    shouldRetry: false,
  }),
  flooded: (failure) => ({
    status: 429,
    type: "requests",
    code: "rate_limit_exceeded",
    message: `Too many requests at once. Please try again in ${(failure.retryAfterMs / 1_000).toFixed(2)}s.`,
    retryAfterMs: failure.retryAfterMs,
  }),
  budget_unavailable: (failure) => ({
    ...UNAVAILABLE,
    message: "The budget cannot be checked right now.",
    retryAfterMs: failure.retryAfterMs,
  }),
  directory_unavailable: (failure) => ({
    ...UNAVAILABLE,
    message: "Models and regions are not known here right now.",
    retryAfterMs: failure.retryAfterMs,
  }),
  no_capacity: (failure) => ({
    ...UNAVAILABLE,
    message:
      failure.withinMs === undefined
        ? `No region has room for '${failure.model}' right now.`
        : `No region can begin to answer for '${failure.model}' ${withinText(failure.withinMs)} right now.`,
    retryAfterMs: failure.retryAfterMs,
  }),
  no_region: (failure) => ({
    ...UNAVAILABLE,
    message: `No region serves '${failure.model}' right now.`,
    retryAfterMs: 5_000,
  }),
  edge_busy: (failure) => ({
    ...UNAVAILABLE,
    message: "Too many large requests at once.",
    retryAfterMs: failure.retryAfterMs,
  }),
  origin_failed: () => ({
    status: 502,
    type: "server_error",
    code: "origin_failed",
    message: "The model's servers failed to answer.",
  }),
  origin_refused: (failure) => ({
    status: failure.status,
    type: failure.status === 404 ? "not_found_error" : INVALID,
    code: null,
    message: failure.message,
    param: failure.param,
  }),
  stream_broken: () => ({
    status: 502,
    type: "server_error",
    code: "stream_broken",
    message: "The answer broke off: the model's server failed. What was sent so far is incomplete.",
  }),
  // Not a 5xx: a client that tries the next server, or the same again, would go on killing engines.
  quarantined: (failure) => ({
    status: 422,
    type: INVALID,
    code: "request_quarantined",
    message:
      "The model's servers died twice while they had this request, so it is not sent to another for now. " +
      "Change it, or try again later; other requests are not affected.",
    retryAfterMs: failure.retryAfterMs,
    shouldRetry: false,
  }),
  deadline_exceeded: () => ({
    status: 504,
    type: "timeout_error",
    code: "deadline_exceeded",
    message: "The request took too long.",
  }),
  not_found: (failure) => ({
    status: 404,
    type: INVALID,
    code: "not_found",
    message: `There is no ${failure.what}.`,
  }),
  already_exists: (failure) => ({
    status: 409,
    type: INVALID,
    code: "already_exists",
    message: `There already is a ${failure.what}.`,
  }),
  conflict: (failure) => ({ status: 409, type: INVALID, code: "conflict", message: failure.detail }),
  version_required: () => ({
    status: 428,
    type: INVALID,
    code: "version_required",
    message: "Send 'If-Match' with the version that you read, so that nobody's change is lost.",
  }),
  version_mismatch: (failure) => ({
    status: 412,
    type: INVALID,
    code: "version_mismatch",
    message: `It was changed meanwhile: the version is now "${failure.current}".`,
  }),
  gate_forbidden: () => ({
    status: 403,
    type: "permission_error",
    code: "gate_forbidden",
    message: "Not a gate of this deployment.",
  }),
  misconfigured: () => ({
    status: 503,
    type: "server_error",
    code: "misconfigured",
    message: "This router is not configured completely; its log says what is missing.",
  }),
  internal: () => ({
    status: 500,
    type: "server_error",
    code: "internal_error",
    message: "The router failed. It is not your fault.",
  }),
};

/** What a failure means over HTTP. */
export function told(failure: Failure): Told {
  return (TELL[failure.tag] as (failure: Failure) => Told)(failure);
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
  const { retryAfterMs } = failure;
  // OpenAI's SDKs take a wait above a minute for a mistake and retry within a second: better not at all.
  const patience = retryAfterMs > SDK_WAIT_MAX_MS ? { shouldRetry: false } : {};
  return { status: 429, type, code: "rate_limit_exceeded", message, retryAfterMs, ...patience };
}

function withinText(withinMs: number | null): string {
  return withinMs === null ? "in time" : `within ${withinMs} ms`;
}
