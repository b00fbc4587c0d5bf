import { ACQUIRE_TIMEOUT_MS, OBJECT_CALL_TIMEOUT_MS, POOL_WAIT_MAX_MS } from "../../../src/bounds.ts";
import type { Grant, PermitOutcome, Refused } from "../../../src/routing/messages.ts";
import { type Candidate, mayAsk } from "../../../src/routing/rank.ts";
import { gatesOf, objectOf } from "../../../src/routing/reach.ts";
import { askOf } from "../core-router.ts";
import type { Edge } from "./edge.ts";
import { MODEL } from "./places.ts";
import type { Acquired } from "./pool-object.ts";
import type { Request } from "./request.ts";

/** How an edge gets a seat at a replica: a copy of src/relay's way, in virtual time. */

export interface Seat {
  readonly candidate: Candidate;
  readonly replica: string;
  readonly id: string;
  started(): void;
  extend(): void;
  release(outcome: PermitOutcome): void;
}

/** A pool that does not say how long a request will be held is taken to hold it this long. */
const UNKNOWN_WAIT_MS = 2_000;
/** Replicas of one pool that may fail a request before that pool comes last. */
const TRIES_PER_POOL = 2;

export function markTried({ tried }: Request, { candidate, replica }: Seat, poolOut: boolean): void {
  const before = tried.get(candidate.pool.id);
  const replicas = [...(before?.replicas ?? []), replica];
  const gone = poolOut || (before?.gone ?? false);
  tried.set(candidate.pool.id, { replicas, out: gone || replicas.length >= TRIES_PER_POOL, gone });
}

/** A place in a pool's queue, and how long it expects to hold the request. */
interface Place {
  readonly candidate: Candidate;
  readonly predictedWaitMs: number;
  taken(): Promise<Seat | Refused>;
  leave(): void;
}

type Found =
  | { readonly kind: "seat"; readonly seat: Seat }
  | { readonly kind: "place"; readonly place: Place }
  | Refused;

/**
 * A seat where the first token is expected soonest. First pools of which nothing bad is known, then those that this edge
 * could not reach a moment ago, last those whose replicas failed this request; one without a gate in reach never.
 */
export async function takeSeat(
  edge: Edge,
  request: Request,
  mayWait: boolean,
  waitedMs = 0,
): Promise<Seat | null> {
  const refused: Refused[] = [];
  const groups = groupsOf(edge, request);
  for (const [at, group] of groups.entries()) {
    const later = groups.slice(at + 1);
    const seat = await walk(edge, request, { group, later, refused, mayWait, waitedMs });
    if (seat !== null) return seat;
    // Who asks again in a moment has no use for those while somebody merely lacks room.
    if (isResumed(request) && refused.some(({ reason }) => reason !== "no_replica")) return null;
  }
  return null;
}

function isResumed({ call }: Request): boolean {
  return call.carriedTokens !== undefined;
}

function groupsOf(edge: Edge, request: Request): Candidate[][] {
  const { candidates, tried } = request;
  const groups: [well: Candidate[], missed: Candidate[], out: Candidate[]] = [[], [], []];
  for (const candidate of candidates.filter((one) => mayAsk(one) && !tried.get(one.pool.id)?.gone)) {
    const gates = gatesOf(candidate.pool.id);
    const isAway = isResumed(request)
      ? edge.reach.isDoubtful(gates)
      : edge.reach.isMissed(gates, edge.time.nowMs);
    groups[tried.get(candidate.pool.id)?.out ? 2 : isAway ? 1 : 0].push(candidate);
  }
  return groups;
}

interface Round {
  readonly group: readonly Candidate[];
  readonly later: readonly Candidate[][];
  readonly refused: Refused[];
  readonly mayWait: boolean;
  readonly waitedMs: number;
}

/** Best first. A pool that would hold it longer than the next one needs altogether is left for that one. */
async function walk(edge: Edge, request: Request, round: Round): Promise<Seat | null> {
  const { group, later, refused, mayWait, waitedMs } = round;
  const ask = (candidate: Candidate, others: number) => {
    const leftMs = Math.min(POOL_WAIT_MAX_MS - waitedMs, request.startByMs - edge.time.nowMs);
    const answerMs = others > 0 ? ACQUIRE_TIMEOUT_MS : OBJECT_CALL_TIMEOUT_MS;
    return askPool(edge, request, candidate, { waitMs: mayWait ? Math.max(0, leftMs) : 0, answerMs });
  };
  let best: { readonly candidate: Candidate; readonly inMs: number } | null = null;
  for (const [index, candidate] of group.entries()) {
    if (later.length === 2 && !edge.reach.mayTry(gatesOf(candidate.pool.id), edge.time.nowMs)) {
      later[0]!.push(candidate);
      continue;
    }
    const rest = group.slice(index + 1);
    const found = await ask(candidate, rest.length + (best === null ? 0 : 1));
    if (found.kind === "seat") return found.seat;
    if (found.kind === "refused") {
      refused.push(found);
      continue;
    }
    const inMs = Math.max(0, candidate.predictedMs - candidate.waitMs) + found.place.predictedWaitMs;
    const nextMs = rest[0]?.predictedMs ?? Infinity;
    if (inMs <= Math.min(nextMs, best?.inMs ?? Infinity)) return wait(edge, request, found.place, round);
    found.place.leave();
    if (best === null || inMs < best.inMs) best = { candidate, inMs };
  }
  if (best === null) return null;
  const found = await ask(best.candidate, 0);
  if (found.kind === "seat") return found.seat;
  if (found.kind === "place") return wait(edge, request, found.place, round);
  refused.push(found);
  return null;
}

/** When its pool gives it up, another takes it: now, or in what is left of its time. */
async function wait(
  edge: Edge,
  request: Request,
  { candidate, taken }: Place,
  { refused, waitedMs }: Round,
): Promise<Seat | null> {
  const fromMs = edge.time.nowMs;
  const answer = await taken();
  if (!("kind" in answer)) return answer;
  refused.push(answer);
  const candidates = request.candidates.filter((one) => one !== candidate);
  if (candidates.length === 0) return null;
  return takeSeat(edge, { ...request, candidates }, true, waitedMs + edge.time.nowMs - fromMs);
}

/** How long a pool may hold a request, and how long its object may take to say so. */
interface Times {
  readonly waitMs: number;
  readonly answerMs: number;
}

/** One pool's answer. An object that cannot be reached is done without; one that restarted is asked again. */
async function askPool(edge: Edge, request: Request, candidate: Candidate, times: Times): Promise<Found> {
  const region = edge.regionOf(candidate);
  const objectName = objectOf(candidate.pool.id, MODEL.id, 0);
  const { waitMs, answerMs } = times;
  const id = `${request.id}/${request.attempts}`;
  const ask = askOf(request.call, id, region.config, {
    waitMs,
    exclude: request.tried.get(candidate.pool.id)?.replicas ?? [],
    resumes: request.resumes > 0,
    sinceMs: request.atMs,
  });
  if (!edge.reach.mayTry(objectName, edge.time.nowMs)) {
    const picked = failStatic(edge, request, candidate, id);
    if (picked.kind === "seat") return picked;
  }
  const asking = edge.ask(candidate, () => [region.object.acquire(ask), region.object.life] as const);
  const answered = await edge.time.within(asking, answerMs);
  if (answered === null) {
    edge.reach.missed(objectName, edge.time.nowMs);
    return failStatic(edge, request, candidate, id);
  }
  edge.reach.reached(objectName);
  const [acquired, life] = answered;
  const seatAt = (grant: Grant) => seatOf(edge, candidate, id, grant, life);
  if ("granted" in acquired) {
    const { predictedWaitMs = UNKNOWN_WAIT_MS } = acquired.answer;
    const place: Place = {
      candidate,
      predictedWaitMs,
      leave: () => seatAt({ kind: "granted", replica: "" }).release("not_used"),
      taken: () => takenAt(edge, request, candidate, acquired, seatAt, times),
    };
    return { kind: "place", place };
  }
  const { answer } = acquired;
  return answer.kind === "granted" ? { kind: "seat", seat: seatAt(answer) } : answer;
}

async function takenAt(
  edge: Edge,
  request: Request,
  candidate: Candidate,
  { granted }: Extract<Acquired, { granted: unknown }>,
  seatAt: (grant: Grant) => Seat,
  { waitMs, answerMs }: Times,
): Promise<Seat | Refused> {
  const untilMs = edge.time.nowMs + waitMs;
  const late: Refused = { kind: "refused", reason: "waited_too_long", retryAfterMs: 0 };
  try {
    const answer = await edge.time.within(granted, waitMs + OBJECT_CALL_TIMEOUT_MS);
    if (answer === null) return late;
    return answer.kind === "granted" ? seatAt(answer) : answer;
  } catch {
    // The object was restarted while it waited there: it queues again, and its first arrival counts.
    const leftMs = Math.max(0, untilMs - edge.time.nowMs);
    const again = await askPool(edge, request, candidate, { waitMs: leftMs, answerMs });
    if (again.kind === "seat") return again.seat;
    return again.kind === "place" ? again.place.taken() : again;
  }
}

function seatOf(edge: Edge, candidate: Candidate, id: string, { replica }: Grant, life: number): Seat {
  const { object } = edge.regionOf(candidate);
  const tell = (run: () => void) => void edge.ask(candidate, run);
  return {
    candidate,
    replica,
    id,
    started: () => tell(() => object.started(id, life)),
    extend: () => tell(() => object.extend(id, replica, life)),
    release: (outcome) => tell(() => object.release(id, outcome, life)),
  };
}

/** By hash, among the replicas that the directory's last word calls usable. */
function failStatic(edge: Edge, request: Request, candidate: Candidate, id: string): Found {
  const exclude = request.tried.get(candidate.pool.id)?.replicas ?? [];
  const usable = (candidate.state?.replicas ?? []).filter(
    (replica) => replica.usable && !exclude.includes(replica.id),
  );
  if (usable.length === 0) return { kind: "refused", reason: "no_replica", retryAfterMs: 2_000 };
  edge.counts.failedStatic += 1;
  const replica = usable[request.hash % usable.length]!.id;
  const nothing = () => undefined;
  const seat = { candidate, replica, id, started: nothing, extend: nothing, release: nothing };
  return { kind: "seat", seat };
}
