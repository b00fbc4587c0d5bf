import { admin } from "./api/admin/app.ts";
import { takeReport } from "./api/gate-report.ts";
import { health, metrics, ready } from "./api/health.ts";
import { type Handler, inferenceRoutes } from "./api/inference.ts";
import { isModelPath, models } from "./api/models.ts";
import { discardBody } from "./body.ts";
import type { Env } from "./env.ts";
import { type ErrorShape, errorResponse, type Failure, FailureError } from "./errors.ts";

export { Directory } from "./durable/directory.ts";
export { RegionPool } from "./durable/region-pool.ts";
export { Registry } from "./durable/registry.ts";
export { TenantBudget } from "./durable/tenant-budget.ts";

/** Every route there is. What is not here is denied. */
const ROUTES = new Map<string, { readonly method: "GET" | "POST"; readonly handler: Handler }>([
  ...inferenceRoutes().map(([path, handler]) => [path, { method: "POST" as const, handler }] as const),
  ["/v1/models", { method: "GET", handler: models }],
  ["/health", { method: "GET", handler: health }],
  ["/ready", { method: "GET", handler: ready }],
  ["/metrics", { method: "GET", handler: metrics }],
  ["/gate/v1/report", { method: "POST", handler: takeReport }],
]);

export default {
  async fetch(request, env, ctx): Promise<Response> {
    const response = await answer(request, env, ctx);
    if (!response.ok) await discardBody(request);
    return response;
  },
} satisfies ExportedHandler<Env>;

async function answer(request: Request, env: Env, ctx: ExecutionContext): Promise<Response> {
  const path = pathOf(request.url);
  const shape: ErrorShape = path === "/v1/messages" ? "anthropic" : "openai";
  try {
    if (path === "/admin" || path.startsWith("/admin/")) return await admin(request, env, ctx);
    const route = ROUTES.get(isModelPath(path) ? "/v1/models" : path);
    if (!route) return errorResponse({ tag: "route_not_found", method: request.method, path }, shape);
    if (request.method !== route.method) {
      return errorResponse({ tag: "method_not_allowed", allowed: route.method }, shape);
    }
    return await route.handler(request, env, ctx);
  } catch (error) {
    return errorResponse(failureOf(error), shape);
  }
}

/** What stands between the authority and the query. */
const PATH = /^https?:\/\/[^/?#]*([^?#]*)/i;

/**
 * The path as it was sent: `URL` would resolve `%2e%2e` and turn `\` into `/`, and so let another spelling of a route
 * past whatever guards that route in front of the Worker.
 */
function pathOf(url: string): string {
  return PATH.exec(url)?.[1] ?? "";
}

/** A failure that no handler took, told to the log in full and to the client without its detail. */
function failureOf(error: unknown): Failure {
  const failure: Failure =
    error instanceof FailureError ? error.failure : { tag: "internal", internalDetail: String(error) };
  if ("internalDetail" in failure) {
    console.error(JSON.stringify({ event: "failure", tag: failure.tag, detail: failure.internalDetail }));
  }
  return failure;
}
