import {
  DEATHS_MAX,
  RESUME_CALLS_MAX,
  RESUME_JITTER_MS,
  RESUME_RETRY_MS,
  RESUME_WITHIN_MS,
  RESUMES_PER_STREAM_MAX,
  START_DEADLINE_MS,
} from "../bounds.ts";
import type { Model } from "../catalogue.ts";
import { readDelivered } from "../engine/continuation/delivered.ts";
import { FailureError } from "../errors.ts";
import type { Work } from "../routing/messages.ts";
import type { Candidate } from "../routing/rank.ts";
import { count } from "../telemetry/metrics.ts";
import { type BrokenOff, type CallResult, callGate } from "./call.ts";
import type { Exchange } from "./exchange.ts";
import { diedTooOften } from "./fingerprint.ts";
import { findPlace } from "./place.ts";
import type { Reservation } from "./reserve.ts";
import { markTried, type Seat, type Tried } from "./seat.ts";

/** What carrying a stream on needs besides the exchange. */
export interface RelayPlan {
  readonly model: Model;
  readonly reservation: Reservation;
  readonly candidates: readonly Candidate[];
  readonly work: Work;
  /** What has failed this request. */
  readonly tried: Tried;
  /** Gives back the memory that the body takes. */
  letGo(): void;
}

type Answer = Extract<CallResult, { kind: "answer" }>;

export type Resumed =
  /** `tail` completes the event that the client has half of. */
  | { readonly kind: "resumed"; readonly answer: Answer; readonly seat: Seat; readonly tail: string }
  /** The client has everything but, at most, `tail`. */
  | { readonly kind: "complete"; readonly tail: string }
  | { readonly kind: "broken"; readonly why: string };

/**
 * Finds somebody who carries a stream on that broke off after `sent`: another replica, in the order in which the request
 * was ranked, within the time that a client may be kept waiting.
 */
export async function resume(
  exchange: Exchange,
  plan: RelayPlan,
  failed: Seat,
  sent: Uint8Array | null,
): Promise<Resumed> {
  const resumed = await tryToResume(exchange, plan, failed, sent);
  const result = resumed.kind === "broken" ? resumed.why : resumed.kind;
  count("meridian_resumes_total", { result });
  return resumed;
}

async function tryToResume(
  exchange: Exchange,
  plan: RelayPlan,
  failed: Seat,
  sent: Uint8Array | null,
): Promise<Resumed> {
  if (sent === null) return { kind: "broken", why: "too_long" };
  const delivered = readDelivered(exchange.endpoint.id, sent, exchange.exact);
  if (delivered === null) return { kind: "broken", why: "unreadable" };
  const { continuation, told, unreported, away, paid, tail } = delivered;
  if (delivered.complete) return { kind: "complete", tail };
  const { gates } = failed.candidate.pool;
  markTried(plan.tried, failed, away === "pool" || (away === "gate" && gates.length === 1));
  // Whether an engine died or a gate is not known here; a request that is present at two deaths goes nowhere else.
  if (away === null) exchange.trace.deaths += 1;
  else if (exchange.trace.resumes >= RESUMES_PER_STREAM_MAX) return { kind: "broken", why: "too_often" };
  const broken: BrokenOff = { attempt: exchange.trace.serving, continuation, told, unreported, paid };
  const nowMs = Date.now();
  const untilMs = Math.min(nowMs + RESUME_WITHIN_MS, exchange.deadlineMs);
  const startByMs = Math.min(nowMs + START_DEADLINE_MS, exchange.deadlineMs);
  const again: Exchange = { ...exchange, startByMs };
  await pause(Math.random() * RESUME_JITTER_MS);
  for (let calls = 0; calls < RESUME_CALLS_MAX && Date.now() < untilMs; ) {
    if (exchange.trace.deaths >= DEATHS_MAX) {
      await diedTooOften(exchange);
      return { kind: "broken", why: "deaths" };
    }
    if (exchange.request.signal.aborted) return { kind: "broken", why: "client_gone" };
    const seat = await seatFor(again, plan);
    if (seat === null) {
      await pause(RESUME_RETRY_MS * (1 + Math.random()));
      continue;
    }
    const result = await call(again, plan, seat, broken);
    calls += 1;
    if (result.kind === "answer") return { kind: "resumed", answer: result, seat, tail };
    if (result.kind === "refused") return { kind: "broken", why: "refused" };
  }
  return { kind: "broken", why: "no_capacity" };
}

/** Null while every pool is full or out of reach. */
async function seatFor(exchange: Exchange, plan: RelayPlan): Promise<Seat | null> {
  try {
    const attempt = exchange.trace.attempts;
    // Its first token came long ago.
    const work = { ...plan.work, firstTokenByMs: null };
    const search = { model: plan.model, candidates: plan.candidates, tried: plan.tried, attempt, work };
    const found = await findPlace(exchange, { ...search, mayWait: false, resumes: true });
    if (found.kind === "seat") return found;
    found.leave();
    return null;
  } catch (error) {
    if (error instanceof FailureError) return null;
    throw error;
  }
}

async function call(exchange: Exchange, plan: RelayPlan, seat: Seat, broken: BrokenOff): Promise<CallResult> {
  const { trace, request } = exchange;
  const attempt = trace.attempts;
  trace.attempts += 1;
  trace.serving = attempt;
  trace.pool = seat.candidate.pool.id;
  trace.region = seat.candidate.pool.region;
  trace.replica = seat.replica;
  const result = await callGate(exchange, plan.model, plan.reservation, seat, attempt, { broken });
  if (result.kind === "answer") return result;
  seat.release(
    request.signal.aborted ? "client_gone" : result.kind === "retry" ? result.outcome : "answered",
  );
  if (result.kind === "retry") {
    markTried(plan.tried, seat, result.poolOut);
    if (result.died) trace.deaths += 1;
  } else result.abort.abort();
  return result;
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
