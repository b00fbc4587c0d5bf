import { CELLS_ASKED_MAX, OBJECT_CALL_TIMEOUT_MS, PERMIT_EXTEND_MS, UNKNOWN_WAIT_MS } from "../bounds.ts";
import type { Model, Pool } from "../catalogue.ts";
import { withDeadline } from "../deadline.ts";
import { type AcquiredStub, type PermitStub, regionPool, type WaitStub } from "../durable/stub.ts";
import { cellKey, cellsInOrder, shareOf } from "../routing/cells.ts";
import type { AcquireAsk, Grant, PermitOutcome, PoolConfig, Refused, Work } from "../routing/messages.ts";
import type { Candidate } from "../routing/rank.ts";
import type { Exchange } from "./exchange.ts";
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
export type Tried = Map<string, { readonly replicas: readonly string[]; readonly out: boolean }>;

/** Replicas of one pool that may fail a request before the others of that pool come after those of other pools. */
const TRIES_PER_POOL = 2;

/** Remembers that a call failed. `poolOut`: not one replica, but the way to all of them. */
export function markTried(tried: Tried, { candidate, replica }: Seat, poolOut: boolean): void {
  const before = tried.get(candidate.pool.id)?.replicas ?? [];
  const replicas = [...before, replica];
  tried.set(candidate.pool.id, { replicas, out: poolOut || replicas.length >= TRIES_PER_POOL });
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
  readonly resumes?: boolean;
}

/** Asks one pool for a seat: the cell where the request's prefix is, and another when that one has no room. */
export async function askPool(
  exchange: Exchange,
  candidate: Candidate,
  ask: PoolAsk,
): Promise<Seat | Place | Refused> {
  const cells = cellsInOrder(cellKey(ask.work, exchange.trace.requestId), candidate.state?.cells ?? 1);
  let answer = await askCell(exchange, candidate, ask, cells[0]!);
  for (const cell of cells.slice(1, CELLS_ASKED_MAX)) {
    if (answer.kind !== "refused" || answer.reason === "too_many_tokens") break;
    answer = await askCell(exchange, candidate, ask, cell);
  }
  return answer;
}

/** An object out of reach is done without: see `failStatic`. */
async function askCell(
  exchange: Exchange,
  candidate: Candidate,
  { model, tried, attempt, work, waitMs, resumes }: PoolAsk,
  cell: number,
): Promise<Seat | Place | Refused> {
  const { pool } = candidate;
  const message: AcquireAsk = {
    id: `${exchange.terms.id}/${attempt}`,
    config: shareOf(poolConfig(pool, candidate.concurrencyPerReplica, model), candidate.state?.cells ?? 1),
    exclude: tried.get(pool.id)?.replicas ?? [],
    waitMs,
    sinceMs: exchange.startedAtMs,
    work: workAt(candidate, work),
    ...(resumes ? { resumes } : {}),
  };
  const stub = regionPool(exchange.env, pool.id, pool.hint, model.id, cell);
  let acquired: AcquiredStub;
  try {
    acquired = await withDeadline(stub.acquire(message), OBJECT_CALL_TIMEOUT_MS);
  } catch {
    return failStatic(candidate, tried, exchange.trace.requestId);
  }
  if (!("permit" in acquired)) {
    // A share for resumed streams that is used up says nothing of other requests.
    if (!resumes) rememberTurned(pool.id, candidate.model, acquired.answer, Date.now());
    return acquired.answer;
  }
  const { permit } = acquired;
  return "wait" in acquired
    ? place(exchange, candidate, acquired, waitMs)
    : seat(exchange, candidate, acquired.answer, permit);
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
  exchange: Exchange,
  candidate: Candidate,
  { answer, permit, wait }: Extract<AcquiredStub, { wait: WaitStub }>,
  waitMs: number,
): Place {
  const { request, ctx } = exchange;
  const give = (outcome: PermitOutcome) => ctx.waitUntil(permit.release(outcome).catch(() => undefined));
  const leave = () => give("client_gone");
  if (request.signal.aborted) leave();
  request.signal.addEventListener("abort", leave, { once: true });
  const stay = () => request.signal.removeEventListener("abort", leave);
  return {
    kind: "place",
    candidate,
    // Whoever is held waits: a prediction of nothing comes from a pool that has measured nothing yet.
    predictedWaitMs: answer.predictedWaitMs || UNKNOWN_WAIT_MS,
    async taken() {
      try {
        const granted = await withDeadline(wait.granted(), waitMs + OBJECT_CALL_TIMEOUT_MS);
        return granted.kind === "granted" ? seat(exchange, candidate, granted, permit) : granted;
      } catch {
        give("not_used");
        return failStatic(candidate, new Map(), exchange.trace.requestId);
      } finally {
        stay();
      }
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
function failStatic(candidate: Candidate, tried: Tried, requestId: string): Seat | Refused {
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
