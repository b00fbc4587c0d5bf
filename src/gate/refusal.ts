import type { ServerResponse } from "node:http";
import type { Outcome } from "../contract/report.ts";
import { type ErrorShape, errorBody, type Failure, retryHeaders, told } from "../errors.ts";
import { ownTime } from "./own-time.ts";

/** On a failure that came before any byte of an answer: whether another replica may do better. */
export const RETRYABLE_HEADER = "x-meridian-retryable";
/** On the same: how the attempt ended, in the words of the usage report. */
export const OUTCOME_HEADER = "x-meridian-outcome";

/** A plain error status in the endpoint's own error shape, from which the edge can fail over. */
export function sendFailure(
  res: ServerResponse,
  failure: Failure,
  shape: ErrorShape,
  how: { readonly retryable: boolean; readonly outcome: Outcome; readonly died?: boolean },
): void {
  sendJson(res, told(failure).status, errorBody(failure, shape), {
    ...retryHeaders(failure),
    ...closing(res),
    [RETRYABLE_HEADER]: how.retryable ? "yes" : "no",
    [OUTCOME_HEADER]: how.outcome,
    ...(how.died ? { [DIED_HEADER]: "yes" } : {}),
  });
}

/** On the same: the engine died with the request, which may be why. */
export const DIED_HEADER = "x-meridian-engine-died";

/** For whoever is not an edge of this deployment. Says nothing about what was wrong. */
export function sendUnauthorized(res: ServerResponse, status: 401 | 403): void {
  const type = status === 401 ? "authentication_error" : "permission_error";
  const body = { error: { message: "Not authorized.", type, param: null, code: "not_authorized" } };
  sendJson(res, status, body, { ...closing(res), [RETRYABLE_HEADER]: "no" });
}

/** Whoever is turned away before the body was read does not get to send the rest of it. */
function closing(res: ServerResponse): Record<string, string> {
  return res.req.complete ? {} : { connection: "close" };
}

export function sendJson(
  res: ServerResponse,
  status: number,
  body: unknown,
  headers: Record<string, string> = {},
): void {
  const text = JSON.stringify(body);
  res.writeHead(status, {
    ...headers,
    ...ownTime(res),
    "content-type": "application/json",
    "content-length": Buffer.byteLength(text),
  });
  res.end(text);
}
