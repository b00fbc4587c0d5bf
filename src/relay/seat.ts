import {
  ASKED_ANEW_MAX,
  CELLS_ASKED_MAX,
  OBJECT_CALL_TIMEOUT_MS,
  PERMIT_EXTEND_MS,
  UNKNOWN_WAIT_MS,
} from "../bounds.ts";
import type { Model, Pool } from "../catalogue.ts";
import { DeadlineError, withDeadline } from "../deadline.ts";
import { type AcquiredStub, type PermitStub, regionPool, type WaitStub } from "../durable/stub.ts";
import { cellKey, cellsInOrder, shareOf } from "../routing/cells.ts";
import type { AcquireAsk, Grant, PermitOutcome, PoolConfig, Refused, Work } from "../routing/messages.ts";
import type { Candidate } from "../routing/rank.ts";
import { objectOf } from "../routing/reach.ts";
import type { Exchange } from "./exchange.ts";
import { REACH } from "./reach.ts";
import { rememberTurned } from "./turned.ts";

/** A place for one call at one replica. Holding it is holding the pool's permit. */
export interface Seat {
  readonly kind: "seat";
  readonly candidate: Candidate;
  readonly replica: string;
  /** From the call to the first token, as the pool expects; null where it does not say. */
  readonly predictedMs: number | null;
  /** Its first token has come: what the pool took for work ahead at that replica is done. */
  started(): void;
  /** Gives the permit back with how it went; once more does nothing. */
  release(outcome: PermitOutcome): void;
  /** Extends the permit until it is released; covers only peers that hang, see bounds. */
  keep(): void;
}

/** A place in a pool's queue: the pool holds the request until a replica has room. */
export interface Place {
  readonly kind: "place";
  readonly candidate: Candidate;
  /** Until it is sent, as the pool expects. */
  readonly predictedWaitMs: number;
  /** Waits for it. */
  taken(): Promise<Seat | Refused>;
  leave(): void;
}

/** What already failed this request, by pool. */
export type Tried = Map<string, TriedPool>;

export interface TriedPool {
  readonly replicas: readonly string[];
  /** Enough of them: the pool is asked only when nobody else takes the request. */
  readonly out: boolean;
  /** No gate of it could be reached, so it is not asked again, whatever its object grants. */
  readonly gone: boolean;
}

/** Replicas of one pool that may fail a request before the others of that pool come after those of other pools. */
const TRIES_PER_POOL = 2;

/** Remembers that a call failed. `poolOut`: not one replica, but the way to all of them. */
export function markTried(tried: Tried, { candidate, replica }: Seat, poolOut: boolean): void {
  const before = tried.get(candidate.pool.id);
  const replicas = [...(before?.replicas ?? []), replica];
  const gone = poolOut || (before?.gone ?? false);
  tried.set(candidate.pool.id, { replicas, out: gone || replicas.length >= TRIES_PER_POOL, gone });
}

/** What a pool's object is told of its own settings, by whoever calls it. */
export function poolConfig(pool: Pool, concurrencyPerReplica: number, model: Model | undefined): PoolConfig {
  return {
    // Versions are the catalogue's: whichever of the two changed last makes the settings new.
    catalogueVersion: Math.max(pool.version, model?.version ?? 0),
    concurrencyPerReplica,
    tokensPerSecond: pool.tokensPerSecond ?? null,
    ...(model?.policy === undefined ? {} : { policy: model.policy }),
  };
}

/** What a pool is asked for. */
export interface PoolAsk {
  readonly model: Model;
  readonly tried: Tried;
  readonly attempt: number;
  readonly work: Work;
  /** How long it may be held there; 0: now or not at all. */
  readonly waitMs: number;
  /** How long its object may take to answer. */
  readonly answerMs: number;
  readonly resumes?: boolean;
}

/** One object, and what it is asked. */
interface CellAsk extends PoolAsk {
  readonly exchange: Exchange;
  readonly candidate: Candidate;
  readonly cell: number;
}

/** Asks one pool for a seat: the cell where the request's prefix is, and another when that one has no room. */
export async function askPool(
  exchange: Exchange,
  candidate: Candidate,
  ask: PoolAsk,
): Promise<Seat | Place | Refused> {
  const cells = cellsInOrder(cellKey(ask.work, exchange.trace.requestId), candidate.state?.cells ?? 1);
  let answer = await askCell({ ...ask, exchange, candidate, cell: cells[0]! });
  for (const cell of cells.slice(1, CELLS_ASKED_MAX)) {
    if (answer.kind !== "refused" || answer.reason === "too_many_tokens") break;
    answer = await askCell({ ...ask, exchange, candidate, cell });
  }
  return answer;
}

/** An object out of reach is done without: see `failStatic`. */
async function askCell(ask: CellAsk, asked = 0): Promise<Seat | Place | Refused> {
  const { exchange, candidate, model, cell, resumes } = ask;
  const { pool } = candidate;
  const object = objectOf(pool.id, model.id, cell);
  // Where nobody can be picked without it either, trying is worth the time.
  if (!REACH.mayTry(object, Date.now())) {
    const picked = failStatic(ask);
    if (picked.kind === "seat") return picked;
  }
  let acquired: AcquiredStub;
  try {
    acquired = await acquire(ask);
    REACH.reached(object);
  } catch {
    REACH.missed(object, Date.now());
    return failStatic(ask);
  }
  if (!("permit" in acquired)) {
    // A share for resumed streams that is used up says nothing of other requests.
    if (!resumes) rememberTurned(pool.id, candidate.model, acquired.answer, Date.now());
    return acquired.answer;
  }
  const { permit } = acquired;
  return "wait" in acquired
    ? place(ask, acquired, asked)
    : seat(exchange, candidate, acquired.answer, permit);
}

/** Asks once more when the session breaks at once, as with an object that is being restarted: its successor answers. */
async function acquire(ask: CellAsk): Promise<AcquiredStub> {
  const { exchange, candidate, model, cell, answerMs } = ask;
  const { pool } = candidate;
  const message: AcquireAsk = {
    id: `${exchange.terms.id}/${ask.attempt}`,
    config: shareOf(poolConfig(pool, candidate.concurrencyPerReplica, model), candidate.state?.cells ?? 1),
    exclude: ask.tried.get(pool.id)?.replicas ?? [],
    waitMs: ask.waitMs,
    sinceMs: exchange.startedAtMs,
    work: workAt(candidate, ask.work),
    ...(ask.resumes ? { resumes: true } : {}),
  };
  // A stub whose session broke stays broken.
  const reach = () => regionPool(exchange.env, pool.id, pool.hint, model.id, cell).acquire(message);
  const untilMs = Date.now() + answerMs;
  const first = reach();
  try {
    return await withDeadline(first, answerMs);
  } catch (error) {
    if (error instanceof DeadlineError) {
      // Its caller goes on without it: a permit that comes now would be held for nothing.
      const giveBack = async (late: AcquiredStub) => "permit" in late && late.permit.release("not_used");
      first.then(giveBack).catch(() => undefined);
      throw error;
    }
    return withDeadline(reach(), Math.max(0, untilMs - Date.now()));
  }
}

/** A pool cannot know how far the client is: its deadline is sooner by the way there and back. */
function workAt({ rtt }: Candidate, work: Work): Work {
  const { firstTokenByMs } = work;
  return firstTokenByMs === null ? work : { ...work, firstTokenByMs: firstTokenByMs - rtt.usedMs };
}

/**
 * A client that leaves must leave the queue too: a call begun in an abort listener is delivered only inside `waitUntil`,
 * and the pool learns of it within a millisecond (permits.md).
 */
function place(
  ask: CellAsk,
  { answer, permit, wait }: Extract<AcquiredStub, { wait: WaitStub }>,
  asked: number,
): Place {
  const { exchange, candidate, waitMs } = ask;
  const { request, ctx } = exchange;
  const give = (outcome: PermitOutcome) => ctx.waitUntil(permit.release(outcome).catch(() => undefined));
  const leave = () => give("client_gone");
  if (request.signal.aborted) leave();
  request.signal.addEventListener("abort", leave, { once: true });
  const stay = () => request.signal.removeEventListener("abort", leave);
  const untilMs = Date.now() + waitMs;
  return {
    kind: "place",
    candidate,
    // Whoever is held waits: a prediction of nothing comes from a pool that has measured nothing yet.
    predictedWaitMs: answer.predictedWaitMs || UNKNOWN_WAIT_MS,
    async taken() {
      try {
        const granted = await withDeadline(wait.granted(), waitMs + OBJECT_CALL_TIMEOUT_MS);
        return granted.kind === "granted" ? seat(exchange, candidate, granted, permit) : granted;
      } catch (error) {
        give("not_used");
        if (error instanceof DeadlineError || asked >= ASKED_ANEW_MAX) return failStatic(ask);
      } finally {
        stay();
      }
      // The session broke: the object was restarted. It queues again, and its first arrival counts.
      const again = await askCell({ ...ask, waitMs: Math.max(0, untilMs - Date.now()) }, asked + 1);
      return again.kind === "place" ? again.taken() : again;
    },
    leave() {
      stay();
      give("not_used");
    },
  };
}

function seat(
  exchange: Exchange,
  candidate: Candidate,
  { replica, predictedMs }: Grant,
  permit: PermitStub,
): Seat {
  let held = true;
  let timer: ReturnType<typeof setTimeout> | null = null;
  const extendLater = () => {
    timer = setTimeout(() => {
      // A pool that restarted does not know the permit's session; the heartbeats count what runs until it ends.
      permit.extend(replica).then(extendLater, () => undefined);
    }, PERMIT_EXTEND_MS);
  };
  return {
    kind: "seat",
    candidate,
    replica,
    predictedMs: predictedMs ?? null,
    started() {
      exchange.ctx.waitUntil(permit.started().catch(() => undefined));
    },
    release(outcome) {
      if (!held) return;
      held = false;
      if (timer !== null) clearTimeout(timer);
      exchange.ctx.waitUntil(permit.release(outcome).catch(() => undefined));
    },
    keep: extendLater,
  };
}

/**
 * The pool's object is out of reach: pick a replica from its last published state by hash, so that each request has
 * its own and none gets all. The gate's caps and the engine's queue limit are the backstop.
 */
function failStatic({ exchange, candidate, tried }: CellAsk): Seat | Refused {
  const { requestId } = exchange.trace;
  const exclude = tried.get(candidate.pool.id)?.replicas ?? [];
  const usable = (candidate.state?.replicas ?? []).filter(
    ({ id, usable }) => usable && !exclude.includes(id),
  );
  if (usable.length === 0) return { kind: "refused", reason: "no_replica", retryAfterMs: 2_000 };
  let hash = 0;
  for (let at = 0; at < requestId.length; at++) hash = (hash * 31 + requestId.charCodeAt(at)) >>> 0;
  const { id } = usable[hash % usable.length]!;
  const nothing = () => undefined;
  const told = { started: nothing, release: nothing, keep: nothing };
  return { kind: "seat", candidate, replica: id, predictedMs: null, ...told };
}
