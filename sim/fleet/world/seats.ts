import { OBJECT_CALL_TIMEOUT_MS, POOL_WAIT_MAX_MS } from "../../../src/bounds.ts";
import type { Grant, PermitOutcome, Refused } from "../../../src/routing/messages.ts";
import type { Candidate } from "../../../src/routing/rank.ts";
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

/** Replicas of one pool that may fail a request before that pool comes last. */
const TRIES_PER_POOL = 2;

export function markTried({ tried }: Request, { candidate, replica }: Seat, poolOut: boolean): void {
  const replicas = [...(tried.get(candidate.pool.id)?.replicas ?? []), replica];
  tried.set(candidate.pool.id, { replicas, out: poolOut || replicas.length >= TRIES_PER_POOL });
}

/**
 * The first pool of the ranked ones that takes it now; where none does, a place in the queue of the one that expects to
 * send it soonest. Null: nobody takes it.
 */
export async function takeSeat(edge: Edge, request: Request, mayWait: boolean): Promise<Seat | null> {
  const { tried } = request;
  const may = request.candidates.filter(({ excluded }) => excluded === null || excluded === "no_replica");
  const isOut = ({ pool }: Candidate) => tried.get(pool.id)?.out ?? false;
  const open = [...may.filter((one) => !isOut(one)), ...may.filter(isOut)];
  const full: Candidate[] = [];
  for (const candidate of open) {
    const taken = await askPool(edge, request, candidate, 0);
    if (!("kind" in taken)) return taken;
    if (taken.reason !== "no_replica") full.push(candidate);
  }
  for (const candidate of mayWait ? full : []) {
    const waitMs = Math.min(POOL_WAIT_MAX_MS, request.startByMs - edge.time.nowMs);
    if (waitMs <= 0) return null;
    const taken = await askPool(edge, request, candidate, waitMs);
    if (!("kind" in taken)) return taken;
  }
  return null;
}

/** One pool's answer. An object that cannot be reached is done without; one that restarted is asked again. */
async function askPool(
  edge: Edge,
  request: Request,
  candidate: Candidate,
  waitMs: number,
): Promise<Seat | Refused> {
  const region = edge.regionOf(candidate);
  const id = `${request.id}/${request.attempts}`;
  const ask = askOf(request.call, id, region.config, {
    waitMs,
    exclude: request.tried.get(candidate.pool.id)?.replicas ?? [],
    resumes: request.resumes > 0,
    firstTokenByMs: null,
  });
  const asking = edge.ask(candidate, () => [region.object.acquire(ask), region.object.life] as const);
  const answered = await edge.time.within(asking, OBJECT_CALL_TIMEOUT_MS);
  if (answered === null) return failStatic(edge, request, candidate, id);
  const [acquired, life] = answered;
  if (acquired.answer.kind === "refused") return acquired.answer;
  try {
    const granted = "granted" in acquired ? await heldFor(edge, acquired, waitMs) : acquired.answer;
    if (granted === null) return failStatic(edge, request, candidate, id);
    return granted.kind === "granted" ? seatOf(edge, candidate, id, granted, life) : granted;
  } catch {
    // The object was restarted while it waited there: it queues again, and its first arrival counts.
    return askPool(edge, request, candidate, waitMs);
  }
}

function heldFor(edge: Edge, { granted }: Extract<Acquired, { granted: unknown }>, waitMs: number) {
  return edge.time.within(granted, waitMs + OBJECT_CALL_TIMEOUT_MS);
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
function failStatic(edge: Edge, request: Request, candidate: Candidate, id: string): Seat | Refused {
  const exclude = request.tried.get(candidate.pool.id)?.replicas ?? [];
  const usable = (candidate.state?.replicas ?? []).filter(
    (replica) => replica.usable && !exclude.includes(replica.id),
  );
  if (usable.length === 0) return { kind: "refused", reason: "no_replica", retryAfterMs: 2_000 };
  edge.counts.failedStatic += 1;
  const replica = usable[request.hash % usable.length]!.id;
  const nothing = () => undefined;
  return { candidate, replica, id, started: nothing, extend: nothing, release: nothing };
}
