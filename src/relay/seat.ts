import { OBJECT_CALL_TIMEOUT_MS, PERMIT_EXTEND_MS, POOL_WAIT_MAX_MS } from "../bounds.ts";
import type { Pool } from "../catalogue.ts";
import { withDeadline } from "../deadline.ts";
import { type AcquiredStub, type PermitStub, regionPool, type WaitStub } from "../durable/stub.ts";
import { FailureError } from "../errors.ts";
import type { AcquireAsk, Grant, PermitOutcome, PoolConfig, Refused } from "../routing/messages.ts";
import { type Candidate, mayAsk } from "../routing/rank.ts";
import type { Exchange } from "./exchange.ts";
import { rememberTurned } from "./turned.ts";

/** A place for one call at one replica. Holding it is holding the pool's permit. */
export interface Seat {
  readonly candidate: Candidate;
  readonly replica: string;
  /** Gives the permit back with how it went; once more does nothing. */
  release(outcome: PermitOutcome): void;
  /** Extends the permit until it is released; covers only peers that hang, see bounds. */
  keep(): void;
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

/**
 * A permit at the first candidate that has room now, and when none has and `mayWait`, a place in the queue of the
 * best. Throws `no_capacity` or `no_region` when nobody takes it.
 */
export async function takeSeat(
  exchange: Exchange,
  candidates: readonly Candidate[],
  tried: Tried,
  attempt: number,
  mayWait: boolean,
  resumes = false,
): Promise<Seat> {
  const may = candidates.filter(mayAsk);
  const isOut = ({ pool }: Candidate) => tried.get(pool.id)?.out ?? false;
  const open = [...may.filter((candidate) => !isOut(candidate)), ...may.filter(isOut)];
  let full: { readonly candidate: Candidate; readonly inMs: number } | null = null;
  let retryAfterMs = Infinity;
  const fromMs = Date.now();
  try {
    for (const candidate of open) {
      const taken = await ask(exchange, candidate, tried, attempt, 0, resumes);
      if (!("kind" in taken)) return taken;
      // What the pool says now is fresher than what the ranking went by.
      const inMs = candidate.rtt.usedMs + taken.retryAfterMs;
      if (taken.reason === "full" && inMs < (full?.inMs ?? Infinity)) full = { candidate, inMs };
      retryAfterMs = Math.min(retryAfterMs, taken.retryAfterMs);
    }
    const waitMs = Math.min(POOL_WAIT_MAX_MS, exchange.startByMs - Date.now());
    if (full !== null && mayWait && waitMs > 0) {
      const taken = await ask(exchange, full.candidate, tried, attempt, waitMs);
      if (!("kind" in taken)) return taken;
      retryAfterMs = taken.retryAfterMs;
    }
  } finally {
    exchange.trace.spent("acquire", fromMs);
  }
  const { model } = exchange.call;
  if (open.length === 0 || !Number.isFinite(retryAfterMs))
    throw new FailureError({ tag: "no_region", model });
  throw new FailureError({ tag: "no_capacity", model, retryAfterMs });
}

/** What a pool's object is told of its own settings, by whoever calls it. */
export function poolConfig(pool: Pool, concurrencyPerReplica: number): PoolConfig {
  const tokensPerSecond = pool.tokensPerSecond ?? null;
  return { catalogueVersion: pool.version, concurrencyPerReplica, tokensPerSecond };
}

async function ask(
  exchange: Exchange,
  candidate: Candidate,
  tried: Tried,
  attempt: number,
  waitMs: number,
  resumes = false,
): Promise<Seat | Refused> {
  const { pool } = candidate;
  const message: AcquireAsk = {
    id: `${exchange.trace.requestId}/${attempt}`,
    config: poolConfig(pool, candidate.concurrencyPerReplica),
    exclude: tried.get(pool.id)?.replicas ?? [],
    waitMs,
    ...(resumes ? { resumes } : {}),
  };
  const stub = regionPool(exchange.env, pool.id, pool.hint, exchange.call.model);
  let acquired: AcquiredStub;
  try {
    acquired = await withDeadline(stub.acquire(message), OBJECT_CALL_TIMEOUT_MS);
  } catch {
    return failStatic(candidate, tried, exchange.trace.requestId);
  }
  if (!("permit" in acquired)) {
    // A share for resumed streams that is used up says nothing of other requests.
    if (!resumes) rememberTurned(pool.id, exchange.call.model, acquired.answer, Date.now());
    return acquired.answer;
  }
  const { permit } = acquired;
  const answer =
    "wait" in acquired ? await granted(exchange, permit, acquired.wait, waitMs) : acquired.answer;
  return answer.kind === "granted" ? seat(exchange, candidate, answer.replica, permit) : answer;
}

/**
 * Waits in the pool's queue. A client that leaves must leave the queue too: a call begun in an abort listener is
 * delivered only inside `waitUntil`, and before the grant there must be no other (permits.md).
 */
async function granted(
  exchange: Exchange,
  permit: PermitStub,
  wait: WaitStub,
  waitMs: number,
): Promise<Grant | Refused> {
  const { request, ctx } = exchange;
  const leave = () => ctx.waitUntil(permit.release("client_gone").catch(() => undefined));
  request.signal.addEventListener("abort", leave, { once: true });
  try {
    return await withDeadline(wait.granted(), waitMs + OBJECT_CALL_TIMEOUT_MS);
  } finally {
    request.signal.removeEventListener("abort", leave);
  }
}

function seat(exchange: Exchange, candidate: Candidate, replica: string, permit: PermitStub): Seat {
  let held = true;
  let timer: ReturnType<typeof setTimeout> | null = null;
  const extendLater = () => {
    timer = setTimeout(() => {
      // A pool that restarted does not know the permit's session; the heartbeats count what runs until it ends.
      permit.extend(replica).then(extendLater, () => undefined);
    }, PERMIT_EXTEND_MS);
  };
  return {
    candidate,
    replica,
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
  return { candidate, replica: id, release: () => undefined, keep: () => undefined };
}
