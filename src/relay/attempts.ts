import { ATTEMPTS_MAX, DEATHS_MAX } from "../bounds.ts";
import type { Model } from "../catalogue.ts";
import { type Failure, FailureError } from "../errors.ts";
import type { Work } from "../routing/messages.ts";
import type { Candidate } from "../routing/rank.ts";
import type { Exchange } from "./exchange.ts";
import { diedTooOften } from "./fingerprint.ts";
import { type Answer, callOrHedge } from "./hedge.ts";
import { findPlace, type Search, seatOf } from "./place.ts";
import type { Reservation } from "./reserve.ts";
import { mayRetry } from "./retries.ts";
import { markTried, type Place, type Seat, type Tried } from "./seat.ts";

/** What has to be there before an origin is called. */
export interface Admission {
  readonly reservation: Reservation;
  readonly candidates: readonly Candidate[];
  readonly work: Work;
  readonly found: Seat | Place | null;
}

export interface FirstAnswer {
  readonly answer: Answer;
  readonly seat: Seat;
  readonly attempts: number;
  readonly tried: Tried;
}

/** Calls replica after replica until one answers, within the attempts, the retry budget and the deadline. */
export async function firstAnswer(
  exchange: Exchange,
  model: Model,
  { reservation, candidates, work, found }: Admission,
): Promise<FirstAnswer> {
  const { trace, request } = exchange;
  const tried: Tried = new Map();
  let failure: Failure | null = null;
  let attempt = 0;
  try {
    do {
      const search: Search = { model, candidates, tried, attempt, work, mayWait: true };
      const seat = await nextSeat(exchange, search, attempt === 0 ? found : null, failure);
      const { answered, failed, calls } = await callOrHedge(exchange, model, reservation, search, seat);
      attempt += calls;
      for (const { seat, result } of failed) {
        seat.release(request.signal.aborted ? "client_gone" : result.outcome);
        failure = result.failure;
        markTried(tried, seat, result.poolOut);
        if (result.died) trace.deaths += 1;
      }
      if (answered) return { ...answered, attempts: attempt, tried };
    } while (goesOn(exchange, attempt) && mayRetry(model.id, "failover"));
    if (trace.deaths >= DEATHS_MAX) await diedTooOften(exchange);
    throw new FailureError(failure ?? { tag: "internal", internalDetail: "no attempt was made" });
  } catch (error) {
    // No answer, so nothing is charged. Calls that a gate accepted and did not finish report for themselves.
    const cancelled = reservation.cancel();
    exchange.ctx.waitUntil(cancelled);
    if (exchange.terms.more) await cancelled;
    throw error;
  }
}

/** Whether there may be one more attempt, as far as this request alone goes. */
function goesOn({ trace, request, startByMs }: Exchange, attempt: number): boolean {
  const isDeadly = trace.deaths >= DEATHS_MAX;
  return attempt < ATTEMPTS_MAX && !isDeadly && !request.signal.aborted && Date.now() < startByMs;
}

/** A seat for the next attempt. When nobody takes it, what failed before says more than that. */
async function nextSeat(
  exchange: Exchange,
  search: Search,
  found: Seat | Place | null,
  before: Failure | null,
): Promise<Seat> {
  try {
    return await seatOf(exchange, search, found ?? (await findPlace(exchange, search)));
  } catch (error) {
    throw before === null ? error : new FailureError(before);
  }
}
