import type { z } from "@hono/zod-openapi";
import { HTTPException } from "hono/http-exception";
import { DeadlineError } from "../../deadline.ts";
import { type Failure, FailureError } from "../../errors.ts";

/** What is wrong with a request, by the first thing that its schema says. */
export function failureOf(error: z.ZodError): Failure {
  const issue = error.issues[0];
  if (!issue) return { tag: "internal", internalDetail: "a zod error without an issue" };
  if (issue.code === "unrecognized_keys") {
    return { tag: "unknown_field", param: dotted([...issue.path, issue.keys[0] ?? ""]) };
  }
  return { tag: "invalid_field", param: dotted(issue.path), detail: issue.message };
}

/** `limits.tokensPerMinute`, `models.0.model`; `body` for the whole. */
function dotted(path: readonly PropertyKey[]): string {
  return path.length === 0 ? "body" : path.map(String).join(".");
}

/** What an exception means; only ours and Hono's say something that a client may read. */
export function failureOfThrown(error: unknown): Failure {
  if (error instanceof FailureError) return error.failure;
  if (error instanceof DeadlineError) return { tag: "deadline_exceeded" };
  if (error instanceof HTTPException) {
    if (error.status === 400) return { tag: "bad_json", detail: "it cannot be parsed." };
    if (error.status === 415) return { tag: "unsupported_media_type" };
  }
  return { tag: "internal", internalDetail: String(error) };
}
