import type { IncomingMessage, ServerResponse } from "node:http";
import { BODY_MAX_BYTES, FIRST_TOKEN_TIMEOUT_MS } from "../bounds.ts";
import type { OriginOrder } from "../contract/origin-token.ts";
import type { UsageReport } from "../contract/report.ts";
import type { Endpoint, JsonObject, Prepared } from "../engine/endpoint.ts";
import { contentOf } from "../engine/fingerprint.ts";
import { type AdmissionParts, admit } from "./admission.ts";
import { type ByteBudget, bodyBytes, readJsonBody } from "./body.ts";
import type { Clock } from "./clock.ts";
import { beginConverted, type Carried, carryOn } from "./continue.ts";
import type { Deaths } from "./deaths.ts";
import { CLIENT_GONE, DEADLINE, type Ending, engineEnding, failed, overloaded, refused } from "./endings.ts";
import { Exchange } from "./exchange.ts";
import type { Log } from "./log.ts";
import { finalReport, type Meter, NO_USAGE } from "./meter.ts";
import type { Counters } from "./metrics.ts";
import { ownTime } from "./own-time.ts";
import { sendFailure, sendUnauthorized } from "./refusal.ts";
import { aggregateAnswer } from "./relay/aggregate.ts";
import type { Answer } from "./relay/answer.ts";
import type { EngineErrorEnding } from "./relay/events.ts";
import { streamAnswer } from "./relay/stream.ts";
import { wholeAnswer } from "./relay/whole.ts";
import type { Replica, Replicas } from "./replicas.ts";
import type { Reporter } from "./reporter.ts";
import { settle } from "./settle.ts";
import type { Summary } from "./setup.ts";
import type { Tallies } from "./tallies.ts";
import type { EngineClient } from "./upstream.ts";

/** Everything that serving one request needs. */
export interface ServeParts {
  readonly admission: AdmissionParts;
  readonly engine: EngineClient;
  readonly engineApiKey: string | undefined;
  readonly bodies: ByteBudget;
  readonly replicas: Replicas;
  readonly meter: Meter;
  readonly reporter: Reporter;
  readonly tallies: Tallies;
  readonly deaths: Deaths;
  readonly counters: Counters;
  readonly clock: Clock;
  readonly log: Log;
  readonly concurrencyPerReplica: number;
  readonly resumable: boolean;
  readonly answerMaxMs: number;
  readonly abortDrainMs: number;
  /** From one look at a replica to the end of the next, at the most. */
  readonly lookMs: number;
  /** True once the gate takes no new requests. */
  draining(): boolean;
}

/** Endpoints that generate nothing: the first byte of their answer is the last, so its timeout is the first token's. */
const ANSWERS_AT_ONCE = new Set(["embeddings", "rerank", "score", "tokenize"]);

/** One request, from the edge's call to the relay that answers it. Resolves when the relay has begun. */
export async function serve(
  parts: ServeParts,
  endpoint: Endpoint,
  req: IncomingMessage,
  res: ServerResponse,
): Promise<void> {
  const admission = await admit(parts.admission, req, endpoint.path);
  if (!admission.ok) {
    parts.counters.turnAway(admission.reason);
    if (admission.status !== 503) sendUnauthorized(res, admission.status);
    else sendFailure(res, overloaded("").failure!, endpoint.errorShape, overloaded(""));
    return;
  }
  const { order } = admission;
  const turnAway = (ending: Ending, reason: string) => {
    parts.counters.turnAway(reason);
    parts.log.info("turned_away", { requestId: order.requestId, attempt: order.attempt, reason });
    if (ending.failure !== null) sendFailure(res, ending.failure, endpoint.errorShape, ending);
    // The edge voids a reservation that may be used again; of all others it wants a last word.
    if (!ending.retryable) parts.reporter.final(finalReport(order, NO_USAGE, ending.outcome, false));
  };

  const replica = parts.replicas.get(order.replica);
  const full = whyNot(parts, order, replica);
  if (full !== null || replica === undefined) return turnAway(...(full ?? NO_REPLICA));

  const heldBytes = bodyBytes(req, BODY_MAX_BYTES);
  if (!parts.bodies.take(heldBytes)) return turnAway(overloaded(order.servedModel), "bodies_full");
  replica.inFlight += 1;
  const release = () => {
    replica.inFlight -= 1;
    parts.bodies.give(heldBytes);
  };
  const body = await readJsonBody(req, BODY_MAX_BYTES, order.startByMs - parts.clock.epochMs());
  const plan = body.ok ? await planFor(parts, endpoint, body.json, order, replica) : null;
  const left = (!body.ok && body.failure === null) || res.destroyed;
  const late = parts.clock.epochMs() > order.startByMs;
  if (plan !== null && "prepared" in plan && !left && !late) {
    relay(parts, { endpoint, plan, order, replica, res, release });
    return;
  }
  release();
  if (plan !== null && "text" in plan && !left) return sendRest(parts, plan, order, res);
  if (left) turnAway(CLIENT_GONE, "left_early");
  else if (late) turnAway(DEADLINE, "late");
  else if (!body.ok && body.failure !== null) turnAway(refused(body.failure), body.failure.tag);
  else if (plan !== null && "ending" in plan) turnAway(plan.ending, "uncounted");
  else turnAway({ ...failed("cannot be prepared"), retryable: false }, "unprepared");
}

const NO_REPLICA = [failed("no such replica"), "unknown_replica"] as const;

/** Why a replica cannot take this request now, or null when it can. */
function whyNot(
  parts: ServeParts,
  { servedModel }: OriginOrder,
  replica: Replica | undefined,
): readonly [Ending, string] | null {
  if (parts.draining()) return [overloaded(servedModel), "draining"];
  if (replica === undefined) return NO_REPLICA;
  // A health check that takes long is no reason: under load it does, and the pool decides what to make of it.
  if (replica.state === "down" && replica.health !== "timeout") {
    return [failed("the replica is down"), "replica_down"];
  }
  if (replica.state === "draining") return [overloaded(servedModel), "replica_draining"];
  if (replica.inFlight < parts.concurrencyPerReplica) return null;
  parts.tallies.count(replica.id, servedModel, "overloaded");
  return [overloaded(servedModel), "replica_full"];
}

interface Plan {
  /** The client's own body, whatever the engine is asked. */
  readonly client: JsonObject;
  readonly prepared: Prepared;
  readonly path: string;
  readonly answer: Answer;
  /** Where a stream is carried on: the bill of the attempt before, once it is known. */
  before?(): UsageReport | null;
}

/** Null where the body is none that the edge can have accepted: the endpoints trust the edge's check. */
async function planFor(
  parts: ServeParts,
  endpoint: Endpoint,
  body: JsonObject,
  order: OriginOrder,
  replica: Replica,
): Promise<Plan | Exclude<Carried, { kind: "relay" }> | null> {
  try {
    const { continues } = order;
    if (continues === undefined) {
      const begun = beginConverted(endpoint, body, order, errorEnding(order));
      if (begun !== null) return { ...begun, client: body, prepared: { mode: "stream", body: begun.body } };
      const prepared = endpoint.prepare(body, order);
      const answer = answerFor(endpoint, prepared, body, order);
      return { client: body, prepared, path: endpoint.enginePath, answer };
    }
    const engine = { url: replica.url, apiKey: parts.engineApiKey };
    const carried = await carryOn(endpoint, body, { ...order, continues }, engine, errorEnding(order));
    if (carried.kind !== "relay") return carried;
    const { path, answer, before, client } = carried;
    return { client, prepared: { mode: "stream", body: carried.body }, path, answer, before };
  } catch {
    return null;
  }
}

/** The rest of a stream to which no token is missing. */
function sendRest(
  parts: ServeParts,
  { text, before }: Extract<Carried, { kind: "finished" }>,
  order: OriginOrder,
  res: ServerResponse,
): void {
  const headers = { "content-type": "text/event-stream", "cache-control": "no-store" };
  res.writeHead(200, { ...headers, ...ownTime(res) });
  res.end(text);
  if (before !== null) parts.reporter.final(before);
  parts.reporter.final(finalReport(order, NO_USAGE, "complete", false));
}

function errorEnding(order: OriginOrder): EngineErrorEnding {
  return (status, message) => engineEnding({ status, message, param: null }, order.servedModel);
}

interface Relay {
  readonly endpoint: Endpoint;
  readonly plan: Plan;
  readonly order: OriginOrder;
  readonly replica: Replica;
  readonly res: ServerResponse;
  /** Gives back what the request holds of its replica and of memory. */
  release(): void;
}

function relay(parts: ServeParts, request: Relay): void {
  const { endpoint, order, replica, res, release } = request;
  const { prepared, path, answer, before } = request.plan;
  const { clock, meter, engine } = parts;
  const firstTokenSeen = prepared.mode !== "whole" || ANSWERS_AT_ONCE.has(endpoint.id);
  const exchange = new Exchange({
    order,
    errorShape: endpoint.errorShape,
    res,
    call: engine.call({
      baseUrl: replica.url,
      path,
      requestId: order.requestId,
      body: JSON.stringify(prepared.body),
    }),
    answer,
    clock,
    firstTokenSeen,
    resumable: parts.resumable && order.resumable === true && prepared.mode === "stream",
    answerMaxMs: parts.answerMaxMs,
    abortDrainMs: parts.abortDrainMs,
    ...slowness(parts, order, replica, firstTokenSeen),
    onEnded(summary) {
      release();
      const waitedMs = summary.firstTokenMs ?? (firstTokenSeen ? summary.durationMs : 0);
      parts.tallies.count(replica.id, order.servedModel, summary.ending.verdict, waitedMs);
      if (summary.connectionRefused) parts.replicas.refused(replica.id);
      if (summary.ending.verdict === "draining") parts.replicas.drains(replica.id);
      tellDeaths(parts, request, summary);
      void settle(parts, {
        ...{ endpoint, prepared, order, replica, answer, summary, exchange },
        ...(before === undefined ? {} : { before }),
      });
    },
  });
  meter.begin(exchange, clock.monotonicMs());
  parts.reporter.wake();
  exchange.start();
}

/**
 * Of one JSON that the engine generates the first token is not seen: it is slow where the engine has computed nothing
 * for anybody all the while.
 */
function slowness(
  { tallies, clock, lookMs }: ServeParts,
  order: OriginOrder,
  replica: Replica,
  firstTokenSeen: boolean,
) {
  const { afterMs, of } = order.slow ?? { afterMs: FIRST_TOKEN_TIMEOUT_MS, of: "first_token" as const };
  // A look at the engine may have come that long after the engine stopped.
  const stands = () => clock.monotonicMs() - replica.movedAtMs >= Math.max(lookMs, afterMs - lookMs);
  return {
    slowAfterMs: afterMs,
    slowOf: of,
    onSlow() {
      if (of === "total" || firstTokenSeen || stands()) tallies.slow(replica.id, order.servedModel);
    },
  };
}

/** Who was there when an engine died may be why; whoever completes is not. */
function tellDeaths(
  { deaths }: ServeParts,
  { endpoint, plan, order, replica }: Relay,
  { ending, firstTokenMs, connectionRefused, engineReached, gone }: Summary,
): void {
  if (ending.outcome === "complete" && order.suspect !== undefined) deaths.completed(order.suspect);
  // A silence is no death, and who was refused a connection was not there.
  const there = engineReached && (!connectionRefused || ending.died === true);
  if (ending.outcome !== "failed" || ending.verdict !== "failed" || !there) return;
  deaths.lost({
    replica: replica.id,
    died: ending.died === true,
    begun: firstTokenMs !== null,
    content: () => contentOf(endpoint.id, plan.client),
    gone,
  });
}

function answerFor(endpoint: Endpoint, prepared: Prepared, body: JsonObject, order: OriginOrder): Answer {
  const engineError = errorEnding(order);
  switch (prepared.mode) {
    case "stream":
      return streamAnswer(endpoint.reader(body, order), engineError);
    case "aggregate":
      return aggregateAnswer(endpoint.aggregator(body, order), engineError);
    case "whole":
      return wholeAnswer((json) => endpoint.wholeUsage(json), {
        served: order.servedModel,
        asked: String(body.model),
      });
  }
}
