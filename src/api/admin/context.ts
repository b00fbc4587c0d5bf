import type { Context } from "hono";
import { OBJECT_CALL_TIMEOUT_MS } from "../../bounds.ts";
import { withDeadline } from "../../deadline.ts";
import type { By, Change, PageAsk, Result } from "../../durable/registry/messages.ts";
import type { Registry } from "../../durable/registry.ts";
import { registry } from "../../durable/stub.ts";
import type { Env } from "../../env.ts";
import { FailureError } from "../../errors.ts";

/** What every handler has: the Worker's bindings, and who asks. */
export interface AdminEnv {
  Bindings: Env;
  Variables: { by: By };
}

/**
 * The registry as its callers see it. The runtime's own stub types split a union of results into a union of promises,
 * which nothing can await.
 */
export type RegistryStub = Pick<Registry, Exclude<keyof Registry, "alarm" | "fetch">>;

export function registryOf(c: Context<AdminEnv>): RegistryStub {
  return registry(c.env) as unknown as RegistryStub;
}

/** An object's answer, in time. Throws a `DeadlineError`. */
export function within<T>(answer: Promise<T>): Promise<T> {
  return withDeadline(answer, OBJECT_CALL_TIMEOUT_MS);
}

/** The value of an answer. Throws the failure that it names instead. */
export async function found<T>(answer: Promise<Result<T>>): Promise<T> {
  const result = await within(answer);
  if (!result.ok) throw new FailureError(result.failure);
  return result.value;
}

/** The value of a change; a header tells whether it is in force already or on its way. */
export async function changed<T>(c: Context<AdminEnv>, answer: Promise<Change<T>>): Promise<T> {
  const result = await within(answer);
  if (!result.ok) throw new FailureError(result.failure);
  c.header("x-meridian-in-force", String(result.inForce));
  return result.value;
}

export function setVersion(c: Context<AdminEnv>, { version }: { readonly version: number }): void {
  c.header("etag", `"${version}"`);
}

/** The version in a checked `If-Match`. */
export function versionIn(headers: { "if-match": string }): number;
export function versionIn(headers: { "if-match"?: string | undefined }): number | null;
export function versionIn(headers: { "if-match"?: string | undefined }): number | null {
  const text = headers["if-match"];
  return text === undefined ? null : Number(text.slice(1, -1));
}

export function pageAsk({ cursor, limit }: { cursor?: string | undefined; limit: number }): PageAsk {
  return { cursor: cursor ?? null, limit };
}
