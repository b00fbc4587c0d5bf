import { POOL_WAIT_MAX_MS } from "../bounds.ts";
import type { Model } from "../catalogue.ts";
import { FailureError } from "../errors.ts";
import type { Refused, Work } from "../routing/messages.ts";
import { type Candidate, mayAsk } from "../routing/rank.ts";
import type { Exchange } from "./exchange.ts";
import { askPool, type Place, type Seat, type Tried } from "./seat.ts";

/** What is looked for, and where not. */
export interface Search {
  readonly model: Model;
  readonly candidates: readonly Candidate[];
  readonly tried: Tried;
  readonly attempt: number;
  readonly work: Work;
  /** Whether it may be held in a pool's queue. */
  readonly mayWait: boolean;
  readonly resumes?: boolean;
}

/**
 * A seat, or a place in the queue of the pool where the first token is expected soonest: a pool that would hold the
 * request longer than the next one needs altogether is left for that one. Nothing is waited for here. Throws
 * `no_capacity` or `no_region` when nobody takes it.
 */
export async function findPlace(exchange: Exchange, search: Search): Promise<Seat | Place> {
  const fromMs = Date.now();
  try {
    return await walk(exchange, search);
  } finally {
    exchange.trace.spent("acquire", fromMs);
  }
}

/** Waits for a place. When its pool gives it up, a pool that has room now takes the request. */
export async function seatOf(exchange: Exchange, search: Search, found: Seat | Place): Promise<Seat> {
  if (found.kind === "seat") return found;
  const fromMs = Date.now();
  const taken = await found.taken();
  exchange.trace.spent("acquire", fromMs);
  if (taken.kind === "seat") return taken;
  const candidates = search.candidates.filter(({ pool }) => pool.id !== found.candidate.pool.id);
  if (candidates.length === 0 || exchange.request.signal.aborted) throw refusal(exchange, [taken]);
  const next = await findPlace(exchange, { ...search, candidates, mayWait: false });
  return next.kind === "seat" ? next : seatOf(exchange, { ...search, candidates }, next);
}

async function walk(exchange: Exchange, search: Search): Promise<Seat | Place> {
  const open = inOrder(search);
  const isOut = ({ pool }: Candidate) => search.tried.get(pool.id)?.out ?? false;
  const waitMs = () =>
    search.mayWait
      ? Math.max(0, Math.min(POOL_WAIT_MAX_MS, exchange.terms.patienceMs, exchange.startByMs - Date.now()))
      : 0;
  const refused: Refused[] = [];
  let best: { readonly candidate: Candidate; readonly inMs: number } | null = null;
  for (const [index, candidate] of open.entries()) {
    const found = await askPool(exchange, candidate, { ...search, waitMs: waitMs() });
    if (found.kind === "seat") return found;
    if (found.kind === "refused") {
      refused.push(found);
      continue;
    }
    const inMs = withoutWaitMs(candidate) + found.predictedWaitMs;
    // Chance is in the order, so the next one is not always the best of the rest.
    const rest = open.slice(index + 1).filter((other) => !isOut(other));
    const restMs = Math.min(...rest.map(({ predictedMs }) => predictedMs));
    if (inMs <= Math.min(restMs, best?.inMs ?? Infinity)) return found;
    found.leave();
    if (best === null || inMs < best.inMs) best = { candidate, inMs };
  }
  if (best !== null) {
    const found = await askPool(exchange, best.candidate, { ...search, waitMs: waitMs() });
    if (found.kind !== "refused") return found;
    refused.push(found);
  }
  throw refusal(exchange, refused);
}

function inOrder({ candidates, tried }: Search): Candidate[] {
  const may = candidates.filter(mayAsk);
  const isOut = ({ pool }: Candidate) => tried.get(pool.id)?.out ?? false;
  return [...may.filter((candidate) => !isOut(candidate)), ...may.filter(isOut)];
}

function withoutWaitMs({ predictedMs, waitMs }: Candidate): number {
  return Math.max(0, predictedMs - waitMs);
}

function refusal({ call, asked }: Exchange, refused: readonly Refused[]): FailureError {
  const { model } = call;
  if (refused.length === 0) return new FailureError({ tag: "no_region", model });
  const retryAfterMs = Math.min(...refused.map((answer) => answer.retryAfterMs));
  const isLate = refused.some(({ reason }) => reason === "too_late");
  const withinMs = isLate ? { withinMs: asked.firstTokenWithinMs } : {};
  return new FailureError({ tag: "no_capacity", model, retryAfterMs, ...withinMs });
}
