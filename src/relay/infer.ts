import { REQUEST_DEADLINE_MS, START_DEADLINE_MS } from "../bounds.ts";
import type { Model } from "../catalogue.ts";
import { randomBase62 } from "../contract/encoding.ts";
import type { Endpoint } from "../engine/endpoint.ts";
import type { Env } from "../env.ts";
import { errorResponse, type Failure, FailureError, told } from "../errors.ts";
import { type Located, nearestHint } from "../routing/geo.ts";
import { secretsOf } from "../secrets.ts";
import { ended } from "../telemetry/metrics.ts";
import { Trace } from "../telemetry/trace.ts";
import { guardFlood } from "../upstash/flood.ts";
import { answer } from "./answer.ts";
import { type Asked, askedOf } from "./asked.ts";
import { authenticate, type Caller } from "./authenticate.ts";
import { asAsked, type Exchange } from "./exchange.ts";
import { guardQuarantine } from "./fingerprint.ts";
import { sessionName } from "./forecast.ts";
import { standingHeaders } from "./headers.ts";
import { usableModels } from "./key-check.ts";
import { type ReadCall, readCall } from "./read.ts";
import { BudgetRefusal } from "./reserve.ts";
import { requestSeen } from "./retries.ts";
import { publicModel, revisionFor } from "./revision.ts";
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
    const asked = askedOf(request.headers);
    const read = await readCall(request, endpoint, claims.cacheSalt);
    const { call, done: letGo } = read;
    done = letGo;
    trace.model = call.model;
    trace.streamed = call.stream;
    const exchange: Exchange = {
      terms: asAsked(trace.requestId),
      ...{ request, env, ctx, secrets, trace, endpoint, claims, asked },
      ...(await toldBy(read, asked, claims, startMs)),
      resumable: read.resumable && env.RESUMES_MAX !== "0",
      client,
      here: nearestHint(client),
    };
    trace.spent("parse", parseMs);

    // 3 rank, 4 reserve and acquire, 5 call, 6 pipe, 7 release
    const rankMs = Date.now();
    const view = await directoryView(env, exchange.here);
    const model = await knownModel(exchange, view);
    await guardQuarantine(exchange, view.catalogue);
    trace.spent("rank", rankMs);
    requestSeen(model.id);
    return await answer(exchange, view, { billed: model, served: revisionFor(exchange, view, model) }, () => {
      // The body is held until the stream has ended: it may have to be sent again.
      done = () => {};
      return letGo;
    });
  } catch (error) {
    return refuse(error, trace, endpoint);
  } finally {
    done();
  }
}

/** The model that was asked for. What models there are, only a key that works is told, and only of those it may use. */
async function knownModel({ call, claims, endpoint, env }: Exchange, view: View): Promise<Model> {
  const model = publicModel(view, call.model);
  // Any model tokenizes; else models that generate and models that embed have endpoints of their own.
  const fits = endpoint.id === "tokenize" || (model?.kind === "generate") === call.generates;
  if (model && fits) return model;
  const usable = await usableModels(env, claims);
  if (!model || (usable !== null && !usable.includes(model.id))) {
    throw new FailureError({ tag: "model_not_found", model: call.model });
  }
  throw new FailureError({ tag: "wrong_model_kind", model: model.id, path: endpoint.path });
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
