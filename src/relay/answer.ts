import type { Model } from "../catalogue.ts";
import { FailureError } from "../errors.ts";
import { mayServeFresh } from "../routing/degrade.ts";
import type { Work } from "../routing/messages.ts";
import { PRIORITY_HEADER } from "./asked.ts";
import { type Admission, type FirstAnswer, firstAnswer } from "./attempts.ts";
import { bridge, type Coming, comesInTime } from "./bridge.ts";
import { collect, type Looked, lookUp } from "./cache.ts";
import { forcedOutputTokens } from "./call.ts";
import { answerByLadder, degradedBy, inTerms, type Target, type Walked } from "./degrade.ts";
import type { Exchange } from "./exchange.ts";
import { standingHeaders } from "./headers.ts";
import type { Answer } from "./hedge.ts";
import { keptAnswer } from "./kept-answer.ts";
import { pipeAnswer } from "./pipe.ts";
import { findPlace } from "./place.ts";
import { rankFor } from "./ranking.ts";
import { reserve } from "./reserve.ts";
import { routeHeader } from "./route-header.ts";
import type { Seat } from "./seat.ts";
import { shadow } from "./shadow.ts";
import { knownProfile } from "./tenant-memory.ts";
import type { View } from "./view.ts";
import { workOf } from "./work.ts";

type Answered = Admission & FirstAnswer;

/** A try that was admitted: what a client can be told before there is an answer. */
interface Admitted {
  readonly exchange: Exchange;
  readonly target: Target;
  readonly admission: Admission;
}

/**
 * Answers from what is kept, or down the ladder until somebody answers. A client that would wait too long in silence is
 * answered before that, and hears what comes in the body. `hold`: the request's body is needed to the end of the stream.
 */
export async function answer(
  exchange: Exchange,
  view: View,
  target: Target,
  hold: () => () => void,
): Promise<Response> {
  const { trace } = exchange;
  const { billed: model } = target;
  const looked = await lookUp(exchange, model, target.served);
  trace.cache = looked.state === "none" ? "none" : "miss";
  const isFresh = looked.state === "hit" && mayServeFresh(model, view.catalogue.controls ?? [], Date.now());
  const kept = isFresh ? await keptAnswer(exchange, model, view, looked.entry, "hit") : null;
  if (kept !== null) return kept;

  const admitted: Admitted[] = [];
  const walk = answerByLadder(
    exchange,
    view,
    { ...target, kept: looked.state === "stale" },
    async (tried, other): Promise<Answered> => {
      const admission = await admit(tried, view, other);
      admitted.push({ exchange: tried, target: other, admission });
      return { ...admission, ...(await firstAnswer(tried, other.served, admission)) };
    },
  );
  const coming = walk.then((walked) => comingOf(exchange, walked, model, view, looked));
  const inTime = await comesInTime(coming, exchange);
  const last = admitted.at(-1);
  if (!inTime && last !== undefined) {
    // What the answer will differ in is not known yet; which revision gives it, neither.
    const early = { "x-meridian-degraded": "unknown" };
    return bridge(
      exchange,
      coming,
      { ...commonHeaders(last.exchange, last.target, last.admission), ...early },
      hold(),
    );
  }
  const come = await coming;
  if (come.kind === "kept") return come.response;
  const { plan, seat } = come;
  const letGo = hold();
  // Of one JSON nothing is sent again once its answer has begun.
  if (!exchange.resumable) letGo();
  const body = pipeAnswer(come.exchange, come.answer, seat, { ...plan, letGo });
  return new Response(body, { status: come.answer.response.status, headers: come.headers });
}

/** What came of the walk, ready to be sent. */
async function comingOf(
  exchange: Exchange,
  walked: Walked<Answered>,
  model: Model,
  view: View,
  looked: Looked,
): Promise<Coming> {
  if (walked.kind === "answered") return answeredBy(walked, model, view, looked);
  const stale =
    looked.state === "stale" ? await keptAnswer(exchange, model, view, looked.entry, "stale") : null;
  if (stale === null) throw new FailureError(walked.failure);
  return { kind: "kept", response: stale };
}

function answeredBy(
  { answered, exchange, target }: Extract<Walked<Answered>, { kind: "answered" }>,
  model: Model,
  view: View,
  looked: Looked,
): Coming {
  const { answer, seat, attempts, tried, reservation, candidates, work } = answered;
  const { trace } = exchange;
  const forced = forcedOutputTokens(exchange, target.served, reservation);
  trace.status = answer.response.status;
  trace.revision = target.served.id;
  const { region } = seat.candidate.pool;
  trace.degraded = degradedBy(model, target, region, candidates, forced, exchange.terms);
  const headers = {
    ...commonHeaders(exchange, target, answered),
    ...servedHeaders(exchange, answered, answer, seat, attempts),
  };
  shadow(exchange, model, view, answered);
  // What was cut short by the router itself is not what the next one asks for.
  const keeps = forced === null && reservation.profile.responseCache === true;
  const response = keeps ? collect(exchange, looked, target.served, answer.response) : answer.response;
  const plan = { model: target.served, reservation, candidates, work, tried };
  return { kind: "answered", exchange, answer: { ...answer, response }, seat, plan, headers };
}

/**
 * Reserves beside the user and acquires beside the GPUs, in parallel; if one refuses, the other is undone. A key that
 * this isolate does not know yet is reserved for first, since its tenant's residency rules decide the ranking.
 */
async function admit(exchange: Exchange, view: View, { billed, served }: Target): Promise<Admission> {
  const ranked = (work: Work, regions: readonly string[] | null) =>
    inTerms(rankFor(exchange, view, served, regions, work), exchange.terms);
  const profile = knownProfile(exchange.claims.keyId);
  if (profile === null) {
    const reservation = await reserve(exchange, billed, view);
    const work = workOf(exchange, served, view, reservation.profile);
    return { reservation, candidates: ranked(work, reservation.profile.regions), work, found: null };
  }
  const work = workOf(exchange, served, view, profile);
  const candidates = ranked(work, profile.regions);
  const [reserved, placed] = await Promise.allSettled([
    reserve(exchange, billed, view),
    findPlace(exchange, { model: served, candidates, tried: new Map(), attempt: 0, work, mayWait: true }),
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
  { served }: Target,
  { reservation, work }: Admission,
): Record<string, string> {
  const { call, trace, resumable } = exchange;
  const forced = forcedOutputTokens(exchange, served, reservation);
  return {
    "content-type": call.stream ? "text/event-stream" : "application/json",
    "x-request-id": trace.requestId,
    // Less urgent than was asked for, where the key allows no more.
    [PRIORITY_HEADER]: work.band,
    // Which of the tenant's budget objects holds it, and who decided: the home, a lease, or a block in this isolate.
    "x-meridian-budget": reservation.address.at,
    "x-meridian-budget-mode": reservation.mode,
    "x-meridian-cache": trace.cache,
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
    "x-meridian-degraded": trace.degraded,
    "x-meridian-revision": candidate.model,
    "x-meridian-region": candidate.pool.region,
    "x-meridian-route": routeHeader(client.source, candidates, candidate),
    "x-meridian-replica": replica,
    "x-meridian-attempts": String(attempts),
    "server-timing": trace.serverTiming(),
  };
}
