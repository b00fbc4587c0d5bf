/** One POST request from body to answer: faults that strike early, checks, admission, start. */
import type { IncomingMessage, ServerResponse } from "node:http";
import { setTimeout as sleep } from "node:timers/promises";
import { Answer } from "./api/answer.ts";
import { ApiError, draining, queueFull, toApiError, unknownModel } from "./api/errors.ts";
import { readText, sendError, sendJson } from "./api/http.ts";
import { randomId } from "./api/plan.ts";
import { PoolingAnswer } from "./api/pooling-run.ts";
import { type Body, optional, parseBody } from "./api/validate.ts";
import { DEFAULT_RESTART_MS } from "./control.ts";
import { takeAnswerFaults } from "./faults.ts";
import type { LedgerEntry } from "./ledger.ts";
import type { PostRoute } from "./routes.ts";
import type { Site } from "./site.ts";

export async function post(
  site: Site,
  path: string,
  route: PostRoute,
  req: IncomingMessage,
  res: ServerResponse,
): Promise<void> {
  const text = await readText(req);
  const given = headerText(req, "x-request-id");
  const ledgerId = given ?? randomId();
  if (site.options.enableRequestIdHeaders) res.setHeader("x-request-id", ledgerId);
  if (route.kind === "compute") return compute(site, path, route, text, req, res);
  const entry = site.ledger.open(ledgerId, path);
  if (await strikesEarly(site, text, req, entry)) return;
  try {
    const body = parseBody(text, headerText(req, "content-type") ?? "");
    rejectByFault(site, text, res);
    checkModel(site, route, body, entry);
    admit(site, text, body);
    const options = site.options;
    // The header beats the body's `request_id`, which beats an id made up.
    const requestId = body.request_id === undefined ? ledgerId : given;
    const plan = route.kind === "pool" ? undefined : route.plan(body, requestId, options);
    const pooling = route.kind === "pool" ? route.plan(body, requestId, options) : undefined;
    const faults = takeAnswerFaults(site.board, text);
    if (plan !== undefined) new Answer(site, plan, entry, faults, req, res).start();
    else new PoolingAnswer(site, pooling!, entry, faults, req, res).start();
  } catch (error) {
    const refusal = toApiError(error);
    entry.state = "rejected";
    entry.status = refusal.status;
    sendError(res, refusal, errorShape(path));
  }
}

/** Faults that act before the request is looked at. True: there is nothing left to answer. */
async function strikesEarly(
  site: Site,
  text: string,
  req: IncomingMessage,
  entry: LedgerEntry,
): Promise<boolean> {
  const restart = site.board.take("restart", text);
  if (restart !== undefined) site.restart(restart.ms ?? DEFAULT_RESTART_MS);
  else if (site.board.take("refuse", text) !== undefined) req.socket.destroy();
  if (req.socket.destroyed) {
    entry.state = "failed";
    return true;
  }
  const slow = site.board.take("slowHeaders", text);
  if (slow !== undefined) await sleep(slow.ms);
  // The client left during the wait, or while it was still sending.
  const left = req.socket.destroyed || req.socket.readableEnded;
  if (left) Object.assign(entry, { state: "aborted", aborted: true });
  return left;
}

function compute(
  site: Site,
  path: string,
  route: PostRoute & { kind: "compute" },
  text: string,
  req: IncomingMessage,
  res: ServerResponse,
): void {
  try {
    const body = parseBody(text, headerText(req, "content-type") ?? "");
    const model = optional.string(body, "model");
    const { model: chat, alsoServedAs, embedModel } = site.options;
    const known = model === undefined || [chat, ...alsoServedAs, embedModel].includes(model);
    if (!known) throw unknownModel(model, chat);
    sendJson(res, 200, route.compute(body, site.options));
  } catch (error) {
    sendError(res, toApiError(error), errorShape(path));
  }
}

function rejectByFault(site: Site, text: string, res: ServerResponse): void {
  const status = site.board.take("status", text);
  if (status === undefined) return;
  const code = status.code ?? 500;
  if (status.retryAfterS !== undefined) res.setHeader("retry-after", String(status.retryAfterS));
  const types: Readonly<Record<number, string>> = { 429: "Too Many Requests", 503: "Service Unavailable" };
  throw new ApiError(code, types[code] ?? "InternalServerError", `Simulated failure ${code}.`);
}

/** Each model has its own routes; a missing `model` is served by the route's. */
function checkModel(site: Site, route: PostRoute, body: Body, entry: LedgerEntry): void {
  const served = route.kind === "pool" ? site.options.embedModel : site.options.model;
  const model = optional.string(body, "model");
  entry.model = model ?? served ?? null;
  if (model === undefined || model === served) return;
  if (route.kind !== "pool" && site.options.alsoServedAs.includes(model)) return;
  // The pooling server words it shorter, and names no parameter.
  if (route.kind === "pool")
    throw new ApiError(404, "NotFoundError", `The model \`${model}\` does not exist.`);
  throw unknownModel(model, served ?? "");
}

function admit(site: Site, text: string, body: Body): void {
  const limit = site.options.maxNumQueuedReqs;
  const n = optional.integer(body, "n") ?? 1;
  const { running, waiting } = site.loop.engine;
  if (limit !== undefined && running + waiting + n > limit) {
    site.metrics.rejected();
    throw queueFull();
  }
  if (site.draining || site.board.take("drain", text) !== undefined) throw draining();
}

function errorShape(path: string): "openai" | "anthropic" {
  return path.startsWith("/v1/messages") ? "anthropic" : "openai";
}

function headerText(req: IncomingMessage, name: string): string | undefined {
  const value = req.headers[name];
  return Array.isArray(value) ? value[0] : value;
}
