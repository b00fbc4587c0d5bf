import {
  CONTEXT_LEAST_TOKENS,
  EDGE_GRACE_MS,
  FIRST_TOKEN_TIMEOUT_MS,
  GATE_ANSWER_MAX_MS,
  TOKEN_GAP_TIMEOUT_MS,
} from "../bounds.ts";
import { type Model, signingVersion } from "../catalogue.ts";
import { CONTINUATION_TYPE, type Continuation, envelope, type Told } from "../contract/continuation.ts";
import {
  type Continued,
  ORIGIN_TOKEN_HEADER,
  type OriginOrder,
  signOrder,
} from "../contract/origin-token.ts";
import { signTicket } from "../contract/usage-ticket.ts";
import type { Failure } from "../errors.ts";
import type { PermitOutcome } from "../routing/messages.ts";
import { gatesOf } from "../routing/reach.ts";
import type { Exchange } from "./exchange.ts";
import { fingerprintOf } from "./fingerprint.ts";
import { measure } from "./measure.ts";
import { REACH } from "./reach.ts";
import type { Reservation } from "./reserve.ts";
import type { Seat } from "./seat.ts";

/** A stream that is to be carried on, and what is known of it. */
export interface BrokenOff {
  readonly attempt: number;
  readonly continuation: Continuation;
  readonly told: Told | null;
  readonly unreported: boolean;
  readonly paid: Told | null;
}

export interface CallOptions {
  readonly broken?: BrokenOff;
  /** Ends the call, as the client's leaving does. */
  readonly giveUp?: AbortSignal;
}

/** What came of one origin call before its first byte. */
export type CallResult =
  | { readonly kind: "answer"; readonly response: Response; readonly abort: AbortController }
  /** Another replica may do better: nothing was generated, nothing is charged. */
  | {
      readonly kind: "retry";
      readonly failure: Failure;
      readonly outcome: PermitOutcome;
      /** The engine died with it. */
      readonly died: boolean;
      /** No gate of the pool could be reached: its other replicas cannot either. */
      readonly poolOut: boolean;
    }
  /** The engine's own refusal, already in the client's shape: it is the answer. */
  | { readonly kind: "refused"; readonly response: Response; readonly abort: AbortController };

/** Orders one call from the seat's gate and waits for its status, which comes with the first token. */
export async function callGate(
  exchange: Exchange,
  model: Model,
  reservation: Reservation,
  seat: Seat,
  attempt: number,
  { broken, giveUp }: CallOptions = {},
): Promise<CallResult> {
  const { pool } = seat.candidate;
  const token = await originToken(exchange, model, reservation, seat, attempt, broken);
  const body = broken === undefined ? exchange.bytes : envelope(broken.continuation, exchange.bytes);
  const type = broken === undefined ? "application/json" : CONTINUATION_TYPE;
  const gates = startingAt(pool.gates, attempt + exchange.trace.requestId.charCodeAt(0));
  const abort = new AbortController();
  let silent = false;
  const timer = setTimeout(
    () => {
      silent = true;
      abort.abort();
    },
    answerDeadlineMs(exchange, model),
  );
  const leave = () => abort.abort();
  const leaving = [exchange.request.signal, ...(giveUp === undefined ? [] : [giveUp])];
  for (const signal of leaving) signal.addEventListener("abort", leave, { once: true });
  if (leaving.some(({ aborted }) => aborted)) leave();
  const fromMs = Date.now();
  try {
    let unreachable = "";
    for (const [index, gate] of gates.entries()) {
      try {
        const sentMs = Date.now();
        const response = await fetch(`${gate}${exchange.endpoint.path}`, {
          method: "POST",
          headers: { "content-type": type, [ORIGIN_TOKEN_HEADER]: token },
          body,
          signal: abort.signal,
          redirect: "manual",
        });
        measure(exchange.here, seat.candidate, response, Date.now() - sentMs);
        const result = await resultOf(response, abort, exchange.call.model);
        if (result.kind !== "retry" || !result.poolOut) REACH.reached(gatesOf(pool.id));
        // A tunnel that has lost its gate answers for it: the pool's next gate has a tunnel of its own.
        else if (index < gates.length - 1) continue;
        else REACH.missed(gatesOf(pool.id), Date.now());
        return result;
      } catch (error) {
        unreachable = String(error);
        if (abort.signal.aborted) break;
      }
    }
    // A gate says in time that its engine is silent: one that is silent itself cannot be reached.
    const poolOut = silent ? gates.length === 1 : !abort.signal.aborted;
    if (poolOut) REACH.missed(gatesOf(pool.id), Date.now());
    const failure: Failure = { tag: "origin_failed", internalDetail: unreachable };
    return { kind: "retry", failure, outcome: "failed", died: false, poolOut };
  } finally {
    clearTimeout(timer);
    for (const signal of leaving) signal.removeEventListener("abort", leave);
    exchange.trace.spent("origin", fromMs);
  }
}

async function resultOf(response: Response, abort: AbortController, model: string): Promise<CallResult> {
  if (response.ok) return { kind: "answer", response, abort };
  const { headers, status } = response;
  // A gate that does not accept the order (its secret is another one) is the operator's affair, not the client's.
  const disowned = status === 401 || status === 403;
  const retryable = headers.get("x-meridian-retryable");
  if (retryable === "no" && !disowned) return { kind: "refused", response, abort };
  await response.body?.cancel();
  // Whatever says neither yes nor no is not a gate: a tunnel without its connector answers 502 or 530 by itself.
  const poolOut = retryable === null;
  const outcome = headers.get("x-meridian-outcome");
  if (outcome === "overloaded") {
    const retryAfterMs = Number(headers.get("retry-after-ms")) || 1_000;
    const failure: Failure = { tag: "no_capacity", model, retryAfterMs };
    return { kind: "retry", failure, outcome, died: false, poolOut: false };
  }
  const internalDetail = `gate answered ${status} (${outcome ?? "?"})`;
  return {
    kind: "retry",
    failure: { tag: "origin_failed", internalDetail },
    outcome: "failed",
    died: headers.get("x-meridian-engine-died") === "yes",
    poolOut,
  };
}

/**
 * A stream's status comes with its first token, which the gate waits for no longer than the model allows. One JSON
 * may take as long as its generation; the gate then bridges with white space before the tunnel would cut it off.
 */
function answerDeadlineMs(exchange: Exchange, model: Model): number {
  const firstTokenMs = model.firstTokenTimeoutMs ?? FIRST_TOKEN_TIMEOUT_MS;
  return (exchange.call.stream ? firstTokenMs : Math.max(firstTokenMs, GATE_ANSWER_MAX_MS)) + EDGE_GRACE_MS;
}

async function originToken(
  exchange: Exchange,
  model: Model,
  reservation: Reservation,
  seat: Seat,
  attempt: number,
  broken?: BrokenOff,
): Promise<string> {
  const { secrets, claims, call, terms } = exchange;
  const { pool } = seat.candidate;
  const nowMs = Date.now();
  const ticketOf = async (attempt: number) =>
    terms.ticket ??
    signTicket(
      {
        ...reservation.address,
        requestId: terms.id,
        attempt,
        keyId: claims.keyId,
        pool: pool.id,
        model: call.model,
        issuedAtMs: nowMs,
        basis: reservation.basis,
        block: reservation.block,
      },
      secrets.ticketKey,
    );
  const ticket = await ticketOf(attempt);
  // The pool that carries a stream on may also report on the attempt before, whose gate may be gone.
  const continues =
    broken === undefined ? {} : { continues: await continued(broken, ticketOf(broken.attempt)) };
  const slow = model.breakers?.slow;
  const order: OriginOrder = {
    pool: pool.id,
    secretVersion: signingVersion(pool),
    requestId: terms.id,
    attempt,
    path: exchange.endpoint.path,
    replica: seat.replica,
    servedModel: model.servedName ?? model.id,
    startByMs: exchange.startByMs,
    deadlineMs: exchange.deadlineMs,
    firstTokenTimeoutMs: model.firstTokenTimeoutMs ?? FIRST_TOKEN_TIMEOUT_MS,
    tokenGapTimeoutMs: model.tokenGapTimeoutMs ?? TOKEN_GAP_TIMEOUT_MS,
    ...(slow ? { slow: { afterMs: slow.afterMs, of: slow.of } } : {}),
    cacheSalt: claims.cacheSalt,
    maxOutputTokens: forcedOutputTokens(exchange, model, reservation),
    estimatedPromptTokens: reservation.estimatedPromptTokens,
    ticket,
    resumable: exchange.resumable,
    ...(await suspicion(exchange)),
    ...continues,
  };
  return signOrder(order, await secrets.poolKey(pool.id, signingVersion(pool)));
}

async function continued({ told, unreported, paid }: BrokenOff, ticket: Promise<string>): Promise<Continued> {
  const kept = { ticket: await ticket, told, ...(paid === null ? {} : { paid }) };
  return unreported ? { ...kept, unreported } : kept;
}

/** Whoever was present at a death is under suspicion until it completes. */
async function suspicion(exchange: Exchange): Promise<Pick<OriginOrder, "suspect">> {
  const { trace } = exchange;
  if (trace.deaths > 0) trace.suspect ??= await fingerprintOf(exchange);
  return trace.suspect === null ? {} : { suspect: trace.suspect };
}

/**
 * The output limit to force, or null. A client's own limit is clamped to the whole budget, and to the ladder's limit.
 * Without one the engine would run to the end of its context: that is clamped too, to the budget where the model's
 * context is known to be longer, or not known and any context is (forcing more than it allows would be an error of the
 * engine).
 */
export function forcedOutputTokens(
  { call, terms }: Exchange,
  model: Model,
  { outputCapTokens: budgetTokens }: Reservation,
): number | null {
  const ladderTokens = call.generates ? terms.outputCapTokens : null;
  const unlimited = ladderTokens === null ? CONTEXT_LEAST_TOKENS : Infinity;
  const asked = call.maxOutputTokens ?? model.contextTokens ?? unlimited;
  const clamped = [budgetTokens, ladderTokens].filter((cap) => cap !== null && cap < asked);
  return clamped.length === 0 ? null : Math.min(...(clamped as number[]));
}

function startingAt<Item>(items: readonly Item[], offset: number): Item[] {
  const start = offset % items.length;
  return [...items.slice(start), ...items.slice(0, start)];
}
