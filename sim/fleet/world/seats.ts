import { OBJECT_CALL_TIMEOUT_MS, POOL_WAIT_MAX_MS } from "../../../src/bounds.ts";
import type { Grant, PermitOutcome, Refused } from "../../../src/routing/messages.ts";
import { type Candidate, mayAsk } from "../../../src/routing/rank.ts";
import { askOf } from "../core-router.ts";
import type { Edge } from "./edge.ts";
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
  const replicas = [...(tried.get(candidate.pool.id)?.replicas ?? []), replica];
  tried.set(candidate.pool.id, { replicas, out: poolOut || replicas.length >= TRIES_PER_POOL });
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
 * A seat where the first token is expected soonest. A pool that failed this request is asked again only when it is the
 * only kind there is: while another merely lacks room, a second try of that one comes sooner than a region's return.
 */
export async function takeSeat(edge: Edge, request: Request, mayWait: boolean): Promise<Seat | null> {
  const may = request.candidates.filter(mayAsk);
  const isOut = ({ pool }: Candidate) => request.tried.get(pool.id)?.out ?? false;
  const fresh = may.filter((one) => !isOut(one));
  return walk(edge, request, fresh.length > 0 ? fresh : may, mayWait);
}

/** Best first. A pool that would hold it longer than the next one needs altogether is left for that one. */
async function walk(
  edge: Edge,
  request: Request,
  open: readonly Candidate[],
  mayWait: boolean,
): Promise<Seat | null> {
  const waitMs = () => (mayWait ? Math.min(POOL_WAIT_MAX_MS, request.startByMs - edge.time.nowMs) : 0);
  let best: { readonly candidate: Candidate; readonly inMs: number } | null = null;
  for (const [index, candidate] of open.entries()) {
    const found = await askPool(edge, request, candidate, Math.max(0, waitMs()));
    if (found.kind === "seat") return found.seat;
    if (found.kind === "refused") continue;
    const inMs = Math.max(0, candidate.predictedMs - candidate.waitMs) + found.place.predictedWaitMs;
    const nextMs = open[index + 1]?.predictedMs ?? Infinity;
    if (inMs <= Math.min(nextMs, best?.inMs ?? Infinity)) return wait(edge, request, open, found.place);
    found.place.leave();
    if (best === null || inMs < best.inMs) best = { candidate, inMs };
  }
  if (best === null) return null;
  const found = await askPool(edge, request, best.candidate, Math.max(0, waitMs()));
  if (found.kind === "seat") return found.seat;
  return found.kind === "place" ? wait(edge, request, open, found.place) : null;
}

/** When its pool gives it up, the others are asked. */
async function wait(
  edge: Edge,
  request: Request,
  open: readonly Candidate[],
  { candidate, taken }: Place,
): Promise<Seat | null> {
  const answer = await taken();
  if (!("kind" in answer)) return answer;
  const others = open.filter((one) => one !== candidate);
  return others.length === 0 ? null : walk(edge, request, others, true);
}

/** One pool's answer. An object that cannot be reached is done without; one that restarted is asked again. */
async function askPool(edge: Edge, request: Request, candidate: Candidate, waitMs: number): Promise<Found> {
  const region = edge.regionOf(candidate);
  const id = `${request.id}/${request.attempts}`;
  const ask = askOf(request.call, id, region.config, {
    waitMs,
    exclude: request.tried.get(candidate.pool.id)?.replicas ?? [],
    resumes: request.resumes > 0,
    sinceMs: request.atMs,
  });
  const asking = edge.ask(candidate, () => [region.object.acquire(ask), region.object.life] as const);
  const answered = await edge.time.within(asking, OBJECT_CALL_TIMEOUT_MS);
  if (answered === null) return failStatic(edge, request, candidate, id);
  const [acquired, life] = answered;
  const seatAt = (grant: Grant) => seatOf(edge, candidate, id, grant, life);
  if ("granted" in acquired) {
    const { predictedWaitMs = UNKNOWN_WAIT_MS } = acquired.answer;
    const place: Place = {
      candidate,
      predictedWaitMs,
      leave: () => seatAt({ kind: "granted", replica: "" }).release("not_used"),
      taken: () => takenAt(edge, request, candidate, acquired, seatAt, waitMs),
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
  waitMs: number,
): Promise<Seat | Refused> {
  const late: Refused = { kind: "refused", reason: "waited_too_long", retryAfterMs: 0 };
  try {
    const answer = await edge.time.within(granted, waitMs + OBJECT_CALL_TIMEOUT_MS);
    if (answer === null) return late;
    return answer.kind === "granted" ? seatAt(answer) : answer;
  } catch {
    // The object was restarted while it waited there: it queues again, and its first arrival counts.
    const again = await askPool(edge, request, candidate, waitMs);
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
