import { expect } from "vitest";
import type { TestStack } from "./stack.ts";

/** One request of a tenant, and what its answer says about itself. */

/** Room for a change of the catalogue to be in force everywhere. */
export const IN_FORCE_MS = 15_000;
export const SERVED = { servedName: "sim-chat", contextTokens: 32_768 };
export const LIMITS = { tokensPerMinute: 1_000_000, requestsPerMinute: 10_000, concurrentRequests: 100 };

export interface Got {
  readonly status: number;
  readonly headers: Headers;
  readonly text: string;
}

/** From a client beside `us-east`. */
export async function askAs(
  stack: TestStack,
  key: string,
  model: string,
  content: string,
  { more = {}, headers = {} }: { more?: object; headers?: Record<string, string> } = {},
): Promise<Got> {
  const body = { model, temperature: 0, messages: [{ role: "user", content }], ...more };
  const response = await stack.post("/v1/chat/completions", body, {
    authorization: `Bearer ${key}`,
    "x-meridian-dev-location": "NA/39/-77.5",
    ...headers,
  });
  return { status: response.status, headers: response.headers, text: await response.text() };
}

export const cacheOf = ({ headers }: Got) => headers.get("x-meridian-cache");
export const degradedOf = ({ headers }: Got) => headers.get("x-meridian-degraded");
export const revisionOf = ({ headers }: Got) => headers.get("x-meridian-revision");

export async function patchModel(stack: TestStack, model: string, change: object): Promise<void> {
  const { version } = await stack.admin.call("GET", `models/${model}`);
  const done = await stack.admin.call("PATCH", `models/${model}`, change, version ?? undefined);
  expect(done).toMatchObject({ status: 200 });
}

/** The same fault at every replica; none: all are well again. */
export async function faultEverywhere(stack: TestStack, fault: Record<string, unknown>): Promise<void> {
  for (const { replicas } of stack.info.regions) {
    for (const { id } of replicas) await stack.fault(id, fault);
  }
}
