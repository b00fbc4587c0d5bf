import { exports } from "cloudflare:workers";
import { ADMIN_KEY } from "./config.ts";

/** A call of the admin API through the whole Worker, as curl would make it. */
export interface AdminCall {
  readonly body?: unknown;
  /** The body as it is, instead of JSON made of `body`. */
  readonly text?: string;
  readonly headers?: Record<string, string>;
  /** Null: no key at all. */
  readonly key?: string | null;
}

export interface AdminError {
  readonly error: { readonly message: string; readonly code: string; readonly param: string | null };
}

export interface AdminAnswer<T> {
  readonly status: number;
  readonly headers: Headers;
  readonly text: string;
  /** The parsed body; null for an empty one. */
  readonly json: T;
}

export async function call<T = AdminError>(
  method: string,
  path: string,
  options: AdminCall = {},
): Promise<AdminAnswer<T>> {
  const { body, text = body === undefined ? undefined : JSON.stringify(body), key = ADMIN_KEY } = options;
  const headers = new Headers(options.headers);
  if (key !== null) headers.set("authorization", `Bearer ${key}`);
  if (text !== undefined && !headers.has("content-type")) headers.set("content-type", "application/json");
  const init = { method, headers, ...(text === undefined ? {} : { body: text }) };
  const response = await worker.fetch(`https://meridian.test${path}`, init);
  const answer = await response.text();
  const json = (answer === "" ? null : JSON.parse(answer)) as T;
  return { status: response.status, headers: response.headers, text: answer, json };
}

/** The same under /admin/v1. */
export function ask<T = AdminError>(
  method: string,
  path: string,
  options: AdminCall = {},
): Promise<AdminAnswer<T>> {
  return call<T>(method, `/admin/v1${path}`, options);
}

/** As `If-Match` wants it. */
export function ifMatch(version: number): Record<string, string> {
  return { "if-match": `"${version}"` };
}

const worker = (
  exports as unknown as { default: { fetch(url: string, init: RequestInit): Promise<Response> } }
).default;
