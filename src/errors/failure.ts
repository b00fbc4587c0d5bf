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
  | { tag: "body_too_slow" }
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
  | { tag: "directory_unavailable"; retryAfterMs: number; internalDetail: string }
  // Origins
  /** `withinMs`: no pool can make the deadline for its first token; null where the model sets it. */
  | { tag: "no_capacity"; model: string; retryAfterMs: number; withinMs?: number | null }
  | { tag: "no_region"; model: string }
  | { tag: "edge_busy"; retryAfterMs: number }
  | { tag: "origin_failed"; internalDetail: string }
  | { tag: "origin_refused"; status: number; message: string; param: string | null }
  | { tag: "stream_broken"; internalDetail: string }
  | { tag: "deadline_exceeded" }
  | { tag: "quarantined"; retryAfterMs: number }
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
