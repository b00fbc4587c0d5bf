import type { Env } from "../env.ts";
import { FailureError } from "../errors.ts";
import { bearerOf } from "../relay/authenticate.ts";
import { WAIT_ERROR_EDGES_MS } from "../routing/pool/waits.ts";
import { secretsOf } from "../secrets.ts";
import { exposition } from "../telemetry/metrics.ts";
import { viewFrom } from "./location.ts";

/** `GET /health`: this Worker runs. No I/O. */
export async function health(): Promise<Response> {
  return Response.json({ status: "ok" });
}

/** `GET /ready`: it is configured, reaches its directory, and some replica takes requests. */
export async function ready(request: Request, env: Env): Promise<Response> {
  await secretsOf(env);
  const { catalogue, pools } = await viewFrom(request, env);
  const usable = pools.reduce(
    (sum, pool) => sum + pool.replicas.filter((replica) => replica.usable).length,
    0,
  );
  const body = { ready: usable > 0, models: catalogue.models.length, pools: catalogue.pools.length, usable };
  return Response.json(body, { status: usable > 0 ? 200 : 503 });
}

/** `GET /metrics`: Prometheus text, for the admin key. */
export async function metrics(request: Request, env: Env): Promise<Response> {
  const bearer = bearerOf(request.headers);
  if (!(await (await secretsOf(env)).isAdmin(bearer ?? "")))
    throw new FailureError({ tag: "admin_required" });
  const { pools } = await viewFrom(request, env);
  return new Response(exposition(pools, WAIT_ERROR_EDGES_MS), {
    headers: { "content-type": "text/plain; version=0.0.4; charset=utf-8" },
  });
}
