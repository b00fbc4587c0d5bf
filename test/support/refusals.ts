import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { expect } from "vitest";
import { metrics } from "./books.ts";
import type { TestStack } from "./stack.ts";

/** How a refusal must look. `param` null: the body says that no field is to blame. */
export interface Refusal {
  readonly status: number;
  readonly code: string;
  readonly param?: string | null;
  readonly type?: string;
}

/** Anthropic's words, by status; its errors have no code. */
const ANTHROPIC_TYPES: Record<number, string> = {
  400: "invalid_request_error",
  401: "authentication_error",
  403: "permission_error",
  404: "not_found_error",
  405: "invalid_request_error",
  413: "request_too_large",
  415: "invalid_request_error",
  429: "rate_limit_error",
};

/** Checks status and whole body in the shape that the path's SDK reads. Returns the body's text. */
export async function expectRefusal(response: Response, path: string, refusal: Refusal): Promise<string> {
  const text = await response.text();
  const { status, code, param = expect.toBeOneOf([null, expect.any(String)]) } = refusal;
  const message = expect.stringMatching(/^.{5,500}$/s);
  const { type = expect.any(String) } = refusal;
  const body =
    path === "/v1/messages"
      ? { type: "error", error: { type: ANTHROPIC_TYPES[status], message } }
      : { error: { message, type, param, code } };
  expect([response.status, parsed(text)]).toEqual([status, body]);
  expect(response.headers.get("content-type")).toBe("application/json");
  return text;
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
}

const NOTHING = { promptTokens: 0, cachedTokens: 0, outputTokens: 0, requests: 0 };

/** The tenant was never charged, holds nothing, and has all that its limits allow. */
export async function expectUntouched(stack: TestStack, tenant: string): Promise<void> {
  const { totals, open, byKey, limits } = await stack.usage(tenant);
  expect({ totals, open, byKey }).toEqual({
    totals: NOTHING,
    open: { reservations: 0, running: 0, reservedTokens: 0 },
    byKey: [],
  });
  for (const { tokensPerMinute, tokensPerDay, requestsPerMinute, concurrentRequests } of limits) {
    for (const one of [tokensPerMinute, requestsPerMinute]) expect(one?.available).toBe(one?.limit);
    expect([tokensPerDay?.used ?? 0, concurrentRequests?.running ?? 0]).toEqual([0, 0]);
  }
}

/** Where any of these texts is to be found in what the stack logged, counts and audits: nowhere. */
export async function expectNoTrace(stack: TestStack, texts: readonly string[]): Promise<void> {
  const folder = join(stack.stateDir, "logs");
  const files = readdirSync(folder).map((file) => [file, readFileSync(join(folder, file), "utf8")] as const);
  expect(files.find(([file]) => file === "edge.log")?.[1]).toContain('"event":"request"');
  const audit = JSON.stringify((await stack.admin.call("GET", "audit?limit=200")).body);
  expect(audit).toContain("tenant");
  const places = [
    ...files,
    ["audit", audit] as const,
    ["metrics", await (await metrics(stack)).text()] as const,
  ];
  const found = places.flatMap(([place, content]) =>
    texts.filter((text) => content.includes(text)).map((text) => `${text} in ${place}`),
  );
  expect(found).toEqual([]);
}
