import { REQUEST_DEADLINE_MS, START_DEADLINE_MS } from "../bounds.ts";
import type { Model } from "../catalogue.ts";
import { randomBase62 } from "../contract/encoding.ts";
import type { Endpoint } from "../engine/endpoint.ts";
import type { Env } from "../env.ts";
import { errorResponse, type Failure, FailureError, told } from "../errors.ts";
import { type Located, nearestHint } from "../routing/geo.ts";
import type { Work } from "../routing/messages.ts";
import { secretsOf } from "../secrets.ts";
import { ended } from "../telemetry/metrics.ts";
import { Trace } from "../telemetry/trace.ts";
import { guardFlood } from "../upstash/flood.ts";
import { type Asked, askedOf, PRIORITY_HEADER } from "./asked.ts";
import { type Admission, firstAnswer } from "./attempts.ts";
import { authenticate, type Caller } from "./authenticate.ts";
import { bridge, comesInTime } from "./bridge.ts";
import { forcedOutputTokens } from "./call.ts";
import type { Exchange } from "./exchange.ts";
import { sessionName } from "./forecast.ts";
import { standingHeaders } from "./headers.ts";
import type { Answer } from "./hedge.ts";
import { pipeAnswer } from "./pipe.ts";
import { findPlace } from "./place.ts";
import { rankFor } from "./ranking.ts";
import { type ReadCall, readCall } from "./read.ts";
import { BudgetRefusal, knownProfile, reserve } from "./reserve.ts";
import { requestSeen } from "./retries.ts";
import { routeHeader } from "./route-header.ts";
import type { Seat } from "./seat.ts";
import { directoryView, modelOf, type View } from "./view.ts";
import { workOf } from "./work.ts";

/** One request of the data plane, in the order of docs/architecture.md. */
export async function infer(
  request: Request,
  endpoint: Endpoint,
  client: Located,
  env: Env,
  ctx: ExecutionContext,
): Promise<Response> {
  const startMs = Date.now();
  const trace = new Trace(`req_${randomBase62(22)}`, startMs);
  trace.endpoint = endpoint.id;
  let done = () => {};
  try {
    // 1 authenticate
    const secrets = await secretsOf(env);
    const claims = await authenticate(request, secrets);
    trace.tenantRef = claims.tenantRef;
    trace.keyId = claims.keyId;
    await guardFlood(request, claims, env, ctx);
    trace.spent("auth", startMs);

    // 2 parse
    const parseMs = Date.now();
    const asked = askedOf(request.headers);
    const read = await readCall(request, endpoint, claims.cacheSalt);
    const { call, done: letGo } = read;
    done = letGo;
    trace.model = call.model;
    trace.streamed = call.stream;
    const exchange: Exchange = {
      ...{ request, env, ctx, secrets, trace, endpoint, claims, asked },
      ...(await toldBy(read, asked, claims, startMs)),
      resumable: read.resumable && env.RESUMES_MAX !== "0",
      client,
      here: nearestHint(client),
    };
    trace.spent("parse", parseMs);

    // 3 rank, 4 reserve and acquire
    const rankMs = Date.now();
    const view = await directoryView(env, exchange.here);
    const model = modelOf(view, call.model);
    // Any model tokenizes; else models that generate and models that embed have endpoints of their own.
    if (endpoint.id !== "tokenize" && (model.kind === "generate") !== call.generates) {
      throw new FailureError({ tag: "wrong_model_kind", model: model.id, path: endpoint.path });
    }
    trace.spent("rank", rankMs);
    requestSeen(model.id);
    const admission = await admit(exchange, view, model);

    // 5 call, 6 pipe, 7 release
    const first = firstAnswer(exchange, model, admission);
    const headers = commonHeaders(exchange, model, admission);
    if (!(await comesInTime(first, exchange))) {
      done = () => {};
      return bridge(exchange, model, admission, first, headers, letGo);
    }
    const { answer, seat, attempts, tried } = await first;
    trace.status = answer.response.status;
    // The body is held until the stream has ended: it may have to be sent again.
    if (exchange.resumable) done = () => {};
    const body = pipeAnswer(exchange, answer, seat, { ...admission, model, tried, letGo });
    const served = servedHeaders(exchange, admission, answer, seat, attempts);
    return new Response(body, { status: answer.response.status, headers: { ...headers, ...served } });
  } catch (error) {
    return refuse(error, trace, endpoint);
  } finally {
    done();
  }
}

/** What follows from the request alone. */
async function toldBy(
  { call, bytes, exact, prompt, conversation }: ReadCall,
  { firstTokenWithinMs, session }: Asked,
  { cacheSalt }: Caller,
  startedAtMs: number,
) {
  const named = session ?? conversation;
  return {
    ...{ call, bytes, exact, prompt, startedAtMs },
    session: named === null ? null : await sessionName(cacheSalt, call.model, named),
    startByMs: startedAtMs + (firstTokenWithinMs ?? START_DEADLINE_MS),
    deadlineMs: startedAtMs + REQUEST_DEADLINE_MS,
  };
}

/**
 * Reserves beside the user and acquires beside the GPUs, in parallel; if one refuses, the other is undone. A key that
 * this isolate does not know yet is reserved for first, since its tenant's residency rules decide the ranking.
 */
async function admit(exchange: Exchange, view: View, model: Model): Promise<Admission> {
  const ranked = (work: Work, regions: readonly string[] | null) =>
    rankFor(exchange, view, model, regions, work);
  const profile = knownProfile(exchange.claims.keyId);
  if (profile === null) {
    const reservation = await reserve(exchange, model, view);
    const work = workOf(exchange, model, view, reservation.profile);
    return { reservation, candidates: ranked(work, reservation.profile.regions), work, found: null };
  }
  const work = workOf(exchange, model, view, profile);
  const candidates = ranked(work, profile.regions);
  const [reserved, placed] = await Promise.allSettled([
    reserve(exchange, model, view),
    findPlace(exchange, { model, candidates, tried: new Map(), attempt: 0, work, mayWait: true }),
  ]);
  const found = placed.status === "fulfilled" ? placed.value : null;
  if (reserved.status === "rejected") {
    if (found?.kind === "seat") found.release("not_used");
    else found?.leave();
    throw reserved.reason;
  }
  return { reservation: reserved.value, candidates, work, found };
}

/** What is known once a request is admitted. */
function commonHeaders(
  exchange: Exchange,
  model: Model,
  { reservation, work }: Admission,
): Record<string, string> {
  const { call, trace, resumable } = exchange;
  const forced = forcedOutputTokens(exchange, model, reservation);
  return {
    "content-type": call.stream ? "text/event-stream" : "application/json",
    "x-request-id": trace.requestId,
    // Less urgent than was asked for, where the key allows no more.
    [PRIORITY_HEADER]: work.band,
    // Which of the tenant's budget objects admitted it: the home, or a location that spends a lease.
    "x-meridian-budget": reservation.address.at,
    "x-meridian-budget-mode": reservation.mode,
    // No answer is kept and none is made cheaper yet: both say so, so that clients can rely on them.
    "x-meridian-degraded": "none",
    "x-meridian-cache": "none",
    // Whether this stream outlives its replica. One JSON is made anew elsewhere: nothing of it was sent.
    ...(call.stream ? { "x-meridian-resumable": resumable ? "yes" : "no", "cache-control": "no-cache" } : {}),
    ...(forced === null ? {} : { "x-meridian-max-tokens": String(forced) }),
    ...standingHeaders(reservation.standing, exchange.endpoint.errorShape, Date.now()),
  };
}

/** Only what is named here passes: an engine's other headers are nobody's business. */
function servedHeaders(
  { trace, client }: Exchange,
  { candidates }: Admission,
  { response }: Answer,
  { candidate, replica }: Seat,
  attempts: number,
): Record<string, string> {
  return {
    "content-type": response.headers.get("content-type") ?? "application/json",
    "x-meridian-region": candidate.pool.region,
    "x-meridian-route": routeHeader(client.source, candidates, candidate),
    "x-meridian-replica": replica,
    "x-meridian-attempts": String(attempts),
    "server-timing": trace.serverTiming(),
  };
}

function refuse(error: unknown, trace: Trace, endpoint: Endpoint): Response {
  const failure: Failure =
    error instanceof FailureError ? error.failure : { tag: "internal", internalDetail: String(error) };
  trace.status = told(failure).status;
  trace.failure = failure.tag;
  if ("internalDetail" in failure) trace.internalDetail = failure.internalDetail;
  ended(trace, failure.tag === "origin_failed" ? "failed" : "refused");
  return errorResponse(failure, endpoint.errorShape, {
    "x-request-id": trace.requestId,
    ...(trace.attempts > 0 ? { "x-meridian-attempts": String(trace.attempts) } : {}),
    "server-timing": trace.serverTiming(),
    ...standingHeaders(
      error instanceof BudgetRefusal ? error.standing : null,
      endpoint.errorShape,
      Date.now(),
    ),
  });
}
