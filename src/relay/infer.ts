import { ATTEMPTS_MAX, DEATHS_MAX, REQUEST_DEADLINE_MS, START_DEADLINE_MS } from "../bounds.ts";
import type { Model } from "../catalogue.ts";
import { randomBase62 } from "../contract/encoding.ts";
import type { Endpoint } from "../engine/endpoint.ts";
import type { Env } from "../env.ts";
import { errorResponse, type Failure, FailureError, told } from "../errors.ts";
import { type Located, nearestHint } from "../routing/geo.ts";
import type { Candidate } from "../routing/rank.ts";
import { secretsOf } from "../secrets.ts";
import { ended } from "../telemetry/metrics.ts";
import { Trace } from "../telemetry/trace.ts";
import { guardFlood } from "../upstash/flood.ts";
import { authenticate } from "./authenticate.ts";
import { type CallResult, callGate, forcedOutputTokens } from "./call.ts";
import type { Exchange } from "./exchange.ts";
import { standingHeaders } from "./headers.ts";
import { usableModels } from "./key-check.ts";
import { pipeAnswer } from "./pipe.ts";
import { rankFor } from "./ranking.ts";
import { readCall } from "./read.ts";
import { BudgetRefusal, type Reservation, reserve } from "./reserve.ts";
import { routeHeader } from "./route-header.ts";
import { markTried, type Seat, type Tried, takeSeat } from "./seat.ts";
import { knownProfile } from "./tenant-memory.ts";
import { directoryView, type View } from "./view.ts";

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
    const { call, bytes, exact, resumable: fit, done: letGo } = await readCall(request, endpoint);
    done = letGo;
    trace.model = call.model;
    trace.streamed = call.stream;
    trace.spent("parse", parseMs);
    const resumable = fit && env.RESUMES_MAX !== "0";
    const exchange: Exchange = {
      ...{ request, env, ctx, secrets, trace, endpoint, claims, call, bytes, resumable, exact },
      client,
      here: nearestHint(client),
      startByMs: startMs + START_DEADLINE_MS,
      deadlineMs: startMs + REQUEST_DEADLINE_MS,
    };

    // 3 rank, 4 reserve and acquire
    const rankMs = Date.now();
    const view = await directoryView(env, exchange.here);
    const model = await knownModel(exchange, view);
    trace.spent("rank", rankMs);
    const admission = await admit(exchange, view, model);

    // 5 call, 6 pipe, 7 release
    const { answer, seat, attempts, tried } = await firstAnswer(exchange, model, admission);
    trace.status = answer.response.status;
    const { reservation, candidates } = admission;
    // The body is held until the stream has ended: it may have to be sent again.
    if (resumable) done = () => {};
    const plan = { model, reservation, candidates, tried, letGo };
    return new Response(pipeAnswer(exchange, answer, seat, plan), {
      status: answer.response.status,
      headers: answerHeaders(exchange, model, answer, seat, admission, attempts),
    });
  } catch (error) {
    return refuse(error, trace, endpoint);
  } finally {
    done();
  }
}

/** The model that was asked for. What models there are, only a key that works is told, and only of those it may use. */
async function knownModel({ call, claims, endpoint, env }: Exchange, view: View): Promise<Model> {
  const model = view.catalogue.models.find(({ id }) => id === call.model);
  // Any model tokenizes; else models that generate and models that embed have endpoints of their own.
  const fits = endpoint.id === "tokenize" || (model?.kind === "generate") === call.generates;
  if (model && fits) return model;
  const usable = await usableModels(env, claims);
  if (!model || (usable !== null && !usable.includes(model.id))) {
    throw new FailureError({ tag: "model_not_found", model: call.model });
  }
  throw new FailureError({ tag: "wrong_model_kind", model: model.id, path: endpoint.path });
}

interface Admission {
  readonly reservation: Reservation;
  readonly candidates: readonly Candidate[];
  readonly seat: Seat | null;
}

/**
 * Reserves beside the user and acquires beside the GPUs, in parallel; if one refuses, the other is undone. A tenant
 * that this isolate does not know yet is reserved for first, since its residency rules decide the ranking.
 */
async function admit(exchange: Exchange, view: View, model: Model): Promise<Admission> {
  const ranked = (regions: readonly string[] | null) => rankFor(exchange, view, model, regions);
  const profile = knownProfile(exchange.claims.tenantRef);
  if (profile === null) {
    const reservation = await reserve(exchange, model, view);
    return { reservation, candidates: ranked(reservation.profile.regions), seat: null };
  }
  const candidates = ranked(profile.regions);
  const [reserved, seated] = await Promise.allSettled([
    reserve(exchange, model, view),
    takeSeat(exchange, candidates, new Map(), 0, false),
  ]);
  if (reserved.status === "rejected") {
    if (seated.status === "fulfilled") seated.value.release("not_used");
    throw reserved.reason;
  }
  const seat = seated.status === "fulfilled" ? seated.value : null;
  return { reservation: reserved.value, candidates, seat };
}

type Answer = Exclude<CallResult, { kind: "retry" }>;

/** Calls replica after replica until one answers, within the attempts and the deadline of the request. */
async function firstAnswer(
  exchange: Exchange,
  model: Model,
  { reservation, candidates, seat: first }: Admission,
): Promise<{ answer: Answer; seat: Seat; attempts: number; tried: Tried }> {
  const tried: Tried = new Map();
  let failure: Failure | null = null;
  try {
    for (let attempt = 0; attempt < ATTEMPTS_MAX; attempt++) {
      const seat =
        (attempt === 0 ? first : null) ?? (await nextSeat(exchange, candidates, tried, attempt, failure));
      const { trace } = exchange;
      trace.attempts = attempt + 1;
      trace.pool = seat.candidate.pool.id;
      trace.region = seat.candidate.pool.region;
      trace.replica = seat.replica;
      const result = await callGate(exchange, model, reservation, seat, attempt);
      if (result.kind !== "retry") return { answer: result, seat, attempts: attempt + 1, tried };
      seat.release(exchange.request.signal.aborted ? "client_gone" : result.outcome);
      failure = result.failure;
      markTried(tried, seat, result.poolOut);
      if (result.died) trace.deaths += 1;
      if (trace.deaths >= DEATHS_MAX) break;
      if (exchange.request.signal.aborted || Date.now() >= exchange.startByMs) break;
    }
    throw new FailureError(failure ?? { tag: "internal", internalDetail: "no attempt was made" });
  } catch (error) {
    // No answer, so nothing is charged. Calls that a gate accepted and did not finish report for themselves.
    exchange.ctx.waitUntil(reservation.cancel());
    throw error;
  }
}

/** A seat for the next attempt. When nobody takes it, what failed before says more than that. */
async function nextSeat(
  exchange: Exchange,
  candidates: readonly Candidate[],
  tried: Tried,
  attempt: number,
  before: Failure | null,
): Promise<Seat> {
  try {
    return await takeSeat(exchange, candidates, tried, attempt, true);
  } catch (error) {
    throw before === null ? error : new FailureError(before);
  }
}

function answerHeaders(
  exchange: Exchange,
  model: Model,
  { response }: Answer,
  seat: Seat,
  { reservation, candidates }: Admission,
  attempts: number,
): Headers {
  const headers = new Headers({
    // Only what is named here passes: an engine's other headers are nobody's business.
    "content-type": response.headers.get("content-type") ?? "application/json",
    "x-request-id": exchange.trace.requestId,
    "x-meridian-region": seat.candidate.pool.region,
    "x-meridian-route": routeHeader(exchange.client.source, candidates, seat.candidate),
    "x-meridian-replica": seat.replica,
    "x-meridian-attempts": String(attempts),
    // Which of the tenant's budget objects holds it, and who decided: the home, a lease, or a block in this isolate.
    "x-meridian-budget": reservation.address.at,
    "x-meridian-budget-mode": reservation.mode,
    // No answer is kept and none is made cheaper yet: both say so, so that clients can rely on them.
    "x-meridian-degraded": "none",
    "x-meridian-cache": "none",
    // Whether this stream outlives its replica. One JSON is made anew elsewhere: nothing of it was sent.
    ...(exchange.call.stream ? { "x-meridian-resumable": exchange.resumable ? "yes" : "no" } : {}),
    "server-timing": exchange.trace.serverTiming(),
    ...standingHeaders(reservation.standing, exchange.endpoint.errorShape, Date.now()),
  });
  if (exchange.call.stream) headers.set("cache-control", "no-cache");
  const forced = forcedOutputTokens(exchange, model, reservation);
  if (forced !== null) headers.set("x-meridian-max-tokens", String(forced));
  return headers;
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
