import type { Endpoint } from "../engine/endpoint.ts";
import { ENDPOINTS } from "../engine/endpoints.ts";
import type { Env } from "../env.ts";
import { infer } from "../relay/infer.ts";
import { clientPosition } from "./location.ts";

export type Handler = (request: Request, env: Env, ctx: ExecutionContext) => Promise<Response>;

/** The data plane: one POST route per endpoint, all through the same request path. */
export function inferenceRoutes(): (readonly [path: string, handler: Handler])[] {
  return ENDPOINTS.map((endpoint) => [endpoint.path, handlerOf(endpoint)] as const);
}

function handlerOf(endpoint: Endpoint): Handler {
  return (request, env, ctx) => infer(request, endpoint, clientPosition(request, env), env, ctx);
}
