import { type ErrorShape, type Failure, FailureError } from "./errors/failure.ts";
import { told } from "./errors/told.ts";

/** Errors become HTTP here and nowhere else. What can fail: errors/failure.ts; what it means: errors/told.ts. */
export type { Dimension, ErrorShape, Failure, LimitScope } from "./errors/failure.ts";
export { FailureError, told };

/** The JSON body of an error in the shape that the endpoint's own SDK understands. */
export function errorBody(failure: Failure, shape: ErrorShape): Record<string, unknown> {
  const { type, code, message, param, status } = told(failure);
  if (shape === "anthropic") return { type: "error", error: { type: anthropicType(status), message } };
  return { error: { message, type, param: param ?? null, code } };
}

/** Anthropic's error types go by status (529 and 503 are `overloaded_error`). */
export function anthropicType(status: number): string {
  if (status === 400) return "invalid_request_error";
  if (status === 401) return "authentication_error";
  if (status === 403) return "permission_error";
  if (status === 404) return "not_found_error";
  if (status === 413) return "request_too_large";
  if (status === 429) return "rate_limit_error";
  if (status === 503 || status === 529) return "overloaded_error";
  if (status === 504) return "timeout_error";
  return status < 500 ? "invalid_request_error" : "api_error";
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
