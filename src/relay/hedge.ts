import { ATTEMPTS_MAX } from "../bounds.ts";
import type { Model } from "../catalogue.ts";
import { within } from "../deadline.ts";
import { FailureError } from "../errors.ts";
import { count } from "../telemetry/metrics.ts";
import { type CallResult, callGate } from "./call.ts";
import type { Exchange } from "./exchange.ts";
import { findPlace, type Search } from "./place.ts";
import type { Reservation } from "./reserve.ts";
import { firstTokenSeen, lateAfterMs, mayRetry } from "./retries.ts";
import { markTried, type Seat } from "./seat.ts";

/** What a client is told. */
export type Answer = Exclude<CallResult, { kind: "retry" }>;
type Failed = Extract<CallResult, { kind: "retry" }>;

/** What came of calling one replica, or two. */
export interface Calls {
  readonly answered: { readonly seat: Seat; readonly answer: Answer } | null;
  readonly failed: readonly { readonly seat: Seat; readonly result: Failed }[];
  /** Numbers of attempts that are used up. */
  readonly calls: number;
}

interface Ran {
  readonly seat: Seat;
  readonly attempt: number;
  readonly result: CallResult;
}

/** A call under way, which can be given up. */
interface Running {
  readonly attempt: number;
  readonly ran: Promise<Ran>;
  giveUp(): void;
}

/**
 * Calls a replica. Where the model says so and its first token is late, a second one is called too: who answers first
 * serves, the other is given up and nobody pays for it. Only streams: their status comes with the first token, while one
 * JSON would be made twice.
 */
export async function callOrHedge(
  exchange: Exchange,
  model: Model,
  reservation: Reservation,
  search: Search,
  seat: Seat,
): Promise<Calls> {
  const first = start(exchange, model, reservation, seat, search.attempt);
  const isHedged = model.hedge === true && exchange.call.stream && search.attempt + 1 < ATTEMPTS_MAX;
  const afterMs = isHedged ? lateAfterMs(model.id, seat) : null;
  const isLate = afterMs !== null && (await within(first.ran, afterMs)) === null;
  const second = isLate ? await otherSeat(exchange, model, search, seat) : null;
  if (second === null) return callsOf([await first.ran]);
  if (await reservation.race([first.attempt, first.attempt + 1])) {
    const other = start(exchange, model, reservation, second, first.attempt + 1);
    return raced(exchange, reservation, first, other);
  }
  second.release("not_used");
  // Its answer may be what was lost: there is one attempt, and nobody has to wait for word of another.
  exchange.ctx.waitUntil(reservation.elect(first.attempt));
  return callsOf([await first.ran]);
}

function start(
  exchange: Exchange,
  model: Model,
  reservation: Reservation,
  seat: Seat,
  attempt: number,
): Running {
  const startedAtMs = Date.now();
  const giveUp = new AbortController();
  exchange.trace.attempts = attempt + 1;
  calledAt(exchange, seat, attempt);
  const run = async (): Promise<Ran> => {
    const result = await callGate(exchange, model, reservation, seat, attempt, { giveUp: giveUp.signal });
    if (result.kind === "answer" && exchange.call.stream) {
      seat.started();
      firstTokenSeen(model.id, seat, Date.now() - startedAtMs);
    }
    return { seat, attempt, result };
  };
  return { attempt, ran: run(), giveUp: () => giveUp.abort() };
}

/** The first status wins. While both fail there is none, and the request goes on as after any failure. */
async function raced(
  exchange: Exchange,
  reservation: Reservation,
  first: Running,
  second: Running,
): Promise<Calls> {
  const { ctx } = exchange;
  const one = await Promise.race([first.ran, second.ran]);
  const other = one.attempt === first.attempt ? second : first;
  if (one.result.kind !== "retry") {
    count("meridian_hedges_total", { won: one.attempt === first.attempt ? "first" : "second" });
    calledAt(exchange, one.seat, one.attempt);
    ctx.waitUntil(lose(reservation, one.attempt, other));
    return { ...callsOf([one]), calls: 2 };
  }
  const last = await other.ran;
  count("meridian_hedges_total", { won: last.result.kind === "retry" ? "none" : "last" });
  calledAt(exchange, last.seat, last.attempt);
  // Whoever leaves pays for what was made for it, once, as if there had been one call.
  ctx.waitUntil(reservation.elect(last.attempt));
  return callsOf([one, last]);
}

/** Whose usage counts has to be known before the loser's gate can report how it ended. */
async function lose(reservation: Reservation, winner: number, loser: Running): Promise<void> {
  await reservation.elect(winner);
  loser.giveUp();
  const { seat, result } = await loser.ran;
  // It may have answered meanwhile.
  if (result.kind !== "retry") result.abort.abort();
  seat.release("not_used");
}

function callsOf(ran: readonly Ran[]): Calls {
  let answered: Calls["answered"] = null;
  const failed: { seat: Seat; result: Failed }[] = [];
  for (const { seat, result } of ran) {
    if (result.kind === "retry") failed.push({ seat, result });
    else answered = { seat, answer: result };
  }
  return { answered, failed, calls: ran.length };
}

/** Who serves it, as logs and headers tell. */
function calledAt({ trace }: Exchange, { candidate, replica }: Seat, attempt: number): void {
  trace.serving = attempt;
  trace.pool = candidate.pool.id;
  trace.region = candidate.pool.region;
  trace.replica = replica;
}

/** Another replica that has room now: a second call must not wait behind what made the first one late. */
async function otherSeat(exchange: Exchange, model: Model, search: Search, seat: Seat): Promise<Seat | null> {
  if (exchange.request.signal.aborted || !mayRetry(model.id, "hedge")) return null;
  const tried = new Map(search.tried);
  markTried(tried, seat, false);
  try {
    const found = await findPlace(exchange, {
      ...search,
      tried,
      attempt: search.attempt + 1,
      mayWait: false,
    });
    if (found.kind === "seat") return found;
    found.leave();
    return null;
  } catch (error) {
    if (error instanceof FailureError) return null;
    throw error;
  }
}
