import type { IncomingMessage, RequestListener, ServerResponse } from "node:http";
import { endpointForPath } from "../engine/endpoints.ts";
import { renderMetrics } from "./metrics.ts";
import type { Outbox } from "./outbox.ts";
import { countOwnTime } from "./own-time.ts";
import { sendFailure, sendJson } from "./refusal.ts";
import { type ServeParts, serve } from "./serve.ts";

export interface RouteParts extends ServeParts {
  readonly outbox: Outbox;
}

/** The gate's whole surface: the endpoints of the data plane, `/health` and `/metrics`. All else does not exist. */
export function route(parts: RouteParts): RequestListener {
  return (req, res) => {
    // Writing to an edge that just left is no error of ours; 'close' tells of its leaving.
    res.on("error", () => {});
    countOwnTime(res, parts.clock);
    const path = req.url ?? "";
    const endpoint = req.method === "POST" ? endpointForPath(path) : undefined;
    if (endpoint !== undefined) {
      serve(parts, endpoint, req, res).catch((error: unknown) => onBug(parts, error, res));
    } else if (req.method === "GET" && path === "/health") health(parts, res);
    else if (req.method === "GET" && path === "/metrics") metrics(parts, res);
    else notFound(req, res);
  };
}

/** 200 while this process can serve at all; whether replicas are well is told beside it. */
function health(parts: RouteParts, res: ServerResponse): void {
  const draining = parts.draining();
  const replicas = parts.replicas.all().map(({ id, state, inFlight }) => ({ id, state, inFlight }));
  sendJson(res, draining ? 503 : 200, {
    status: draining ? "draining" : "ok",
    open: parts.meter.open,
    replicas,
  });
}

function metrics(parts: RouteParts, res: ServerResponse): void {
  const text = renderMetrics({ ...parts, draining: parts.draining() });
  res.writeHead(200, { "content-type": "text/plain; version=0.0.4; charset=utf-8" });
  res.end(text);
}

/** Engines answer to many paths that no client may reach, `/invocations` among them. */
function notFound(req: IncomingMessage, res: ServerResponse): void {
  const path = (req.url ?? "").slice(0, 200);
  const failure = { tag: "route_not_found", method: req.method ?? "", path } as const;
  sendFailure(res, failure, "openai", { retryable: false, outcome: "refused" });
}

function onBug(parts: RouteParts, error: unknown, res: ServerResponse): void {
  const name = error instanceof Error ? error.name : "unknown";
  // Only where in our code: a message could quote what a client wrote.
  const at = error instanceof Error ? (error.stack?.split("\n")[1]?.trim() ?? "") : "";
  parts.log.warn("bug", { name, at });
  if (res.headersSent) res.destroy();
  else
    sendFailure(res, { tag: "internal", internalDetail: name }, "openai", {
      retryable: true,
      outcome: "failed",
    });
}
