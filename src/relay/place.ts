import { ACQUIRE_TIMEOUT_MS, OBJECT_CALL_TIMEOUT_MS, POOL_WAIT_MAX_MS } from "../bounds.ts";
import type { Model } from "../catalogue.ts";
import { FailureError } from "../errors.ts";
import type { Refused, Work } from "../routing/messages.ts";
import { type Candidate, mayAsk } from "../routing/rank.ts";
import { gatesOf } from "../routing/reach.ts";
import type { Exchange } from "./exchange.ts";
import { REACH } from "./reach.ts";
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
  /** How long it was held in others already. */
  readonly waitedMs?: number;
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

/** Waits for a place. When its pool gives it up, another takes the request: now, or in what is left of its time. */
export async function seatOf(exchange: Exchange, search: Search, found: Seat | Place): Promise<Seat> {
  if (found.kind === "seat") return found;
  const fromMs = Date.now();
  const taken = await found.taken();
  exchange.trace.spent("acquire", fromMs);
  if (taken.kind === "seat") return taken;
  const candidates = search.candidates.filter(({ pool }) => pool.id !== found.candidate.pool.id);
  if (candidates.length === 0 || exchange.request.signal.aborted) throw refusal(exchange, [taken]);
  const waitedMs = (search.waitedMs ?? 0) + Date.now() - fromMs;
  const others = { ...search, candidates, waitedMs };
  return seatOf(exchange, others, await findPlace(exchange, others));
}

async function walk(exchange: Exchange, search: Search): Promise<Seat | Place> {
  const refused: Refused[] = [];
  const groups = groupsOf(search);
  for (const [at, group] of groups.entries()) {
    const found = await walkGroup(exchange, search, group, groups.slice(at + 1), refused);
    if (found !== null) return found;
    // It asks again in a moment: while somebody merely lacks room, that comes sooner than the return of the rest.
    if (search.resumes && refused.some(({ reason }) => reason !== "no_replica")) break;
  }
  throw refusal(exchange, refused);
}

/**
 * Who is asked, group after group: a later one only when all of those before have no room in time, their queues
 * included. First those of which nothing bad is known; then those that this isolate could not reach a moment ago; last
 * those whose replicas failed this very request. One without a gate in reach within this request is not asked again:
 * its object may go on granting, and each grant would use up a call.
 */
function groupsOf({ candidates, tried, resumes }: Search): Candidate[][] {
  const nowMs = Date.now();
  const may = candidates.filter((one) => mayAsk(one) && !tried.get(one.pool.id)?.gone);
  const groups: [well: Candidate[], missed: Candidate[], out: Candidate[]] = [[], [], []];
  for (const candidate of may) {
    const { id } = candidate.pool;
    // A stream that is to be carried on has no time for finding out.
    const isAway = resumes ? REACH.isDoubtful(gatesOf(id)) : REACH.isMissed(gatesOf(id), nowMs);
    groups[tried.get(id)?.out ? 2 : isAway ? 1 : 0].push(candidate);
  }
  return groups;
}

/** Null when nobody of the group takes it. Who is found to be out of reach meanwhile goes into the next one. */
async function walkGroup(
  exchange: Exchange,
  search: Search,
  group: readonly Candidate[],
  later: readonly Candidate[][],
  refused: Refused[],
): Promise<Seat | Place | null> {
  const ask = (candidate: Candidate, others: number) => {
    const answerMs = others > 0 ? ACQUIRE_TIMEOUT_MS : OBJECT_CALL_TIMEOUT_MS;
    return askPool(exchange, candidate, { ...search, waitMs: waitMsOf(exchange, search), answerMs });
  };
  let best: { readonly candidate: Candidate; readonly inMs: number } | null = null;
  for (const [index, candidate] of group.entries()) {
    const away = later.length === 2 && !REACH.mayTry(gatesOf(candidate.pool.id), Date.now());
    if (away) {
      later[0]!.push(candidate);
      continue;
    }
    const rest = group.slice(index + 1);
    const found = await ask(candidate, rest.length + (best === null ? 0 : 1));
    if (found.kind === "seat") return found;
    if (found.kind === "refused") {
      refused.push(found);
      continue;
    }
    const inMs = withoutWaitMs(candidate) + found.predictedWaitMs;
    // Against the next one, which may take it at once, not against the best of the rest: chance is in the order.
    const nextMs = rest[0]?.predictedMs ?? Infinity;
    if (inMs <= Math.min(nextMs, best?.inMs ?? Infinity)) return found;
    found.leave();
    if (best === null || inMs < best.inMs) best = { candidate, inMs };
  }
  if (best === null) return null;
  const found = await ask(best.candidate, 0);
  if (found.kind !== "refused") return found;
  refused.push(found);
  return null;
}

/** How long it may be held in a queue. */
function waitMsOf({ terms, startByMs }: Exchange, { mayWait, waitedMs = 0 }: Search): number {
  if (!mayWait) return 0;
  const patienceMs = Math.min(POOL_WAIT_MAX_MS, terms.patienceMs) - waitedMs;
  return Math.max(0, Math.min(patienceMs, startByMs - Date.now()));
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
