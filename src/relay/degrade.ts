import {
  DEATHS_MAX,
  DEGRADE_WAIT_DEFAULT_MS,
  OBJECT_CALL_TIMEOUT_MS,
  POOL_WAIT_MAX_MS,
  PROPOSE_MIN_GAP_MS,
  REFUSED_RETRY_MS,
} from "../bounds.ts";
import type { Model, Step } from "../catalogue.ts";
import { withDeadline } from "../deadline.ts";
import { registryReader } from "../durable/stub.ts";
import { type Failure, FailureError } from "../errors.ts";
import { type Move, plan } from "../routing/degrade.ts";
import { type Candidate, mayAsk } from "../routing/rank.ts";
import { gatesOf } from "../routing/reach.ts";
import { count } from "../telemetry/metrics.ts";
import type { Exchange, Terms } from "./exchange.ts";
import { REACH } from "./reach.ts";
import { knownProfile } from "./tenant-memory.ts";
import type { View } from "./view.ts";

/** Whose tokens a try is charged as, and whose replicas it goes to: they differ where a revision answers. */
export interface Target {
  readonly billed: Model;
  readonly served: Model;
}

/** One try of one target in all regions that its terms allow. Throws a `FailureError` when nobody answers. */
export type Attempt<Answered> = (exchange: Exchange, target: Target) => Promise<Answered>;

export type Walked<Answered> =
  | {
      readonly kind: "answered";
      readonly answered: Answered;
      /** As it was tried: its terms say what the client did not ask for. */
      readonly exchange: Exchange;
      readonly target: Target;
    }
  /** The kept answer is the best that there is; `failure` is why. */
  | { readonly kind: "kept"; readonly failure: Failure };

export interface Start extends Target {
  /** There is a kept answer for the request. */
  readonly kept: boolean;
}

/**
 * Walks the ladder (routing/degrade.ts) until somebody answers. A request that nothing was wrong with makes one try and
 * never notices. When nobody answers, what the first try failed of is what the client is told.
 */
export async function answerByLadder<Answered>(
  exchange: Exchange,
  view: View,
  start: Start,
  attempt: Attempt<Answered>,
): Promise<Walked<Answered>> {
  const { billed: model } = start;
  const smaller = smallerOf(model, view);
  const moves = plan({
    ...{ model, controls: view.catalogue.controls ?? [], nowMs: Date.now(), kept: start.kept },
    hasSmaller: smaller !== null,
    generates: exchange.call.generates,
    saturated: isSaturated(exchange, start.served, view),
  });
  let first: FailureError | null = null;
  const failure = () =>
    first?.failure ?? { tag: "no_capacity" as const, model: model.id, retryAfterMs: REFUSED_RETRY_MS };
  let tries = 0;
  for (const [at, move] of moves.entries()) {
    if (move.kind === "cache") return { kind: "kept", failure: failure() };
    if (move.kind === "propose") {
      propose(exchange, model, move.step, first?.failure.tag ?? "failed");
      continue;
    }
    // Fewer tokens make room where there is none; they mend nothing that is broken.
    const useless = at > 0 && move.model === "own" && first?.failure.tag !== "no_capacity";
    if (useless || (tries > 0 && isOver(exchange))) continue;
    const ways = moves.slice(at + 1).some(({ kind }) => kind !== "propose");
    for (const target of targetsOf(move, start, smaller)) {
      tries += 1;
      const terms = termsOf(exchange, move, start, target, tries, ways);
      const tried = { ...exchange, call: { ...exchange.call, model: target.billed.id }, terms };
      try {
        return { kind: "answered", answered: await attempt(tried, target), exchange: tried, target };
      } catch (error) {
        if (!(error instanceof FailureError) || (first === null && !isOutage(error.failure))) throw error;
        // A later step that the tenant may not take, or cannot pay for, is no step for it.
        first ??= error;
        if (isOver(exchange)) break;
      }
    }
  }
  throw first ?? new FailureError(failure());
}

/** Failures of origins; those of the client's own request go no further down the ladder. */
function isOutage({ tag }: Failure): boolean {
  return tag === "no_capacity" || tag === "no_region" || tag === "origin_failed";
}

/** Nothing more may be started for it: its time is up, its client gone, or two engines died with it. */
function isOver({ request, startByMs, trace }: Exchange): boolean {
  return request.signal.aborted || Date.now() >= startByMs || trace.deaths >= DEATHS_MAX;
}

/** A revision that cannot answer must not cost the request: the model itself comes next, at once. */
function targetsOf(move: Extract<Move, { kind: "ask" }>, start: Target, smaller: Model | null): Target[] {
  if (move.model === "smaller") return smaller === null ? [] : [{ billed: smaller, served: smaller }];
  const own = { billed: start.billed, served: start.billed };
  return start.served === start.billed ? [own] : [{ billed: start.billed, served: start.served }, own];
}

function termsOf(
  { terms, trace }: Exchange,
  move: Extract<Move, { kind: "ask" }>,
  { billed: { degrade } }: Start,
  target: Target,
  tries: number,
  ways: boolean,
): Terms {
  const isRevision = target.served !== target.billed;
  const waitMs = ways ? (degrade?.waitMs ?? DEGRADE_WAIT_DEFAULT_MS) : POOL_WAIT_MAX_MS;
  return {
    ...terms,
    // A reservation that was given back is closed for good: the next try has one of its own.
    id: tries === 1 ? terms.id : `${trace.requestId}.${tries}`,
    patienceMs: isRevision ? 0 : waitMs,
    more: isRevision || ways,
    regions: move.regions,
    outputCapTokens: move.capped ? (degrade?.maxTokens ?? null) : null,
  };
}

function smallerOf({ degrade, kind }: Model, view: View): Model | null {
  const smaller = view.catalogue.models.find(({ id }) => id === degrade?.smallerModel);
  return smaller?.kind === kind && smaller.revision === undefined ? smaller : null;
}

/** Whether every pool that may take it has as many requests as it takes, by its last word. */
function isSaturated({ claims }: Exchange, model: Model, { catalogue, pools }: View): boolean {
  const regions = knownProfile(claims.keyId)?.regions ?? null;
  const may = catalogue.pools.filter(
    (pool) => !pool.drained && (regions === null || regions.includes(pool.region)),
  );
  const states = pools.filter(
    (state) => state.model === model.id && state.capacity > 0 && may.some(({ id }) => id === state.pool),
  );
  return states.length > 0 && states.every(({ inUse, capacity }) => inUse >= capacity);
}

/** Sets aside the regions that the terms leave out; where `other` would leave none, the best one stays. */
export function inTerms(candidates: readonly Candidate[], { regions }: Terms): readonly Candidate[] {
  const best = firstRegion(candidates);
  if (regions === "any" || best === undefined) return candidates;
  const stays = ({ pool }: Candidate) => (pool.region === best) === (regions === "best");
  if (firstRegion(candidates.filter(stays)) === undefined) return candidates;
  const aside = { excluded: "by_hand", lastResort: false } as const;
  return candidates.map((candidate) => (stays(candidate) ? candidate : { ...candidate, ...aside }));
}

/** The region that is asked first; a pool without a replica, or that was out of reach just now, only in the end. */
function firstRegion(candidates: readonly Candidate[]): string | undefined {
  const may = candidates.filter((one) => mayAsk(one) && one.excluded !== "no_replica");
  const nowMs = Date.now();
  return (may.find(({ pool }) => !REACH.isMissed(gatesOf(pool.id), nowMs)) ?? may[0])?.pool.region;
}

/** What the answer differs in from what was asked for, as `x-meridian-degraded` says it; "none" if in nothing. */
export function degradedBy(
  model: Model,
  { billed }: Target,
  region: string,
  candidates: readonly Candidate[],
  forcedTokens: number | null,
  { outputCapTokens, regions }: Terms,
): string {
  const steps: string[] = [];
  const sentAway = regions === "other" && candidates.some(({ excluded }) => excluded === "by_hand");
  if (sentAway || region !== expectedRegion(candidates)) steps.push("region");
  if (billed.id !== model.id) steps.push(`model;from=${model.id};to=${billed.id}`);
  if (outputCapTokens !== null && forcedTokens === outputCapTokens) steps.push("max-tokens");
  for (const step of steps) count("meridian_degraded_total", { model: model.id, step: step.split(";")[0]! });
  return steps.length === 0 ? "none" : steps.join(", ");
}

/**
 * The region that would have answered if all were well: the one that is asked first, unless one that cannot take a single
 * request would have been clearly faster.
 */
function expectedRegion(candidates: readonly Candidate[]): string | undefined {
  const first = candidates.find((one) => mayAsk(one) && one.excluded !== "no_replica");
  const isDead = ({ excluded }: Candidate) => excluded === "no_replica" || excluded === "breaker_open";
  const dead = candidates.filter(isDead).sort((one, other) => one.predictedMs - other.predictedMs)[0];
  if (dead === undefined || first === undefined) return (first ?? dead)?.pool.region;
  return dead.predictedMs < CLEARLY * first.predictedMs ? dead.pool.region : first.pool.region;
}

const CLEARLY = 0.9;

/** Asks for a human's yes, in the background; the registry makes one proposal of however many edges ask. */
function propose(exchange: Exchange, { id }: Model, step: Step, why: string): void {
  const nowMs = Date.now();
  const name = `${id}\n${step}`;
  if ((proposedAtMs.get(name) ?? 0) + PROPOSE_MIN_GAP_MS > nowMs) return;
  proposedAtMs.set(name, nowMs);
  const by = { actor: "meridian", requestId: crypto.randomUUID() };
  const proposal = { model: id, step, mode: "allow" as const, reason: `a request failed: ${why}` };
  const proposed = withDeadline(registryReader(exchange.env).propose(by, proposal), OBJECT_CALL_TIMEOUT_MS);
  exchange.ctx.waitUntil(proposed.catch(() => undefined));
}

/** Bounded by the models of the catalogue and the steps. */
const proposedAtMs = new Map<string, number>();
