import { RESUME_WINDOW_MS } from "../bounds.ts";
import type { ReplicaReport } from "../contract/report.ts";
import { Breakers, observedIn } from "./breakers.ts";
import { type Flow, flowWaitMs, NO_FLOW, poured } from "./flow.ts";
import {
  type AcquireAsk,
  BANDS,
  type Band,
  type Grant,
  type Heartbeat,
  type Held,
  type PermitOutcome,
  type PoolState,
  type Refused,
} from "./messages.ts";
import type { Policy } from "./policy/policy.ts";
import { heldAs, latenessMs, RETRY_NO_REPLICA_MS, RETRY_UNKNOWN_MS, refused } from "./pool/answers.ts";
import { dispatched, type Resolved } from "./pool/dispatch.ts";
import { type Entry, entryOf, kvTokensOf } from "./pool/entry.ts";
import { Fleet } from "./pool/fleet.ts";
import { Permits } from "./pool/permits.ts";
import { PlacedRequests } from "./pool/placed.ts";
import { HeldQueue } from "./pool/queue.ts";
import { HOLDING, type Holding, type Replica } from "./pool/replica.ts";
import { restore, type SavedReplica, savedReplicas } from "./pool/saved.ts";
import { firstTokenMsAt } from "./pool/waits.ts";
import { ResumeWindow } from "./resumes.ts";

export type { Resolved } from "./pool/dispatch.ts";
export type { SavedReplica } from "./pool/saved.ts";

export interface PoolOptions {
  /** What `save` returned in the object's life before. */
  readonly saved?: readonly SavedReplica[];
  readonly savedBreakers?: unknown;
  /** From 0 to 1, for jitter. */
  readonly random?: () => number;
  /** Instead of the one that the configuration names. */
  readonly policy?: Policy;
  readonly holding?: Holding;
  /** Whether idle replicas take over from the queues of others; they do. */
  readonly takeOver?: boolean;
}

/**
 * One pool's permits for one model: which replica a request is for, whether it is sent, held or refused. No clock, no
 * I/O: the object around it brings the time and carries grants to those who wait. Permits live in memory only: their
 * holders' sessions are the lease, and after a restart the heartbeats say what still runs (I4: permits out ≤ limit
 * at each replica; the gate's caps are the hard limit). docs/pools.md tells how it decides.
 */
export class Pool {
  readonly #fleet: Fleet;
  readonly #queue: HeldQueue;
  readonly #permits = new Permits();
  readonly #placed = new PlacedRequests();
  readonly #resumes = new ResumeWindow();
  readonly #takesOver: boolean;
  #flow: Flow = NO_FLOW;
  #arrivals = 0;

  /** `known` are the replicas that the object remembers from before its restart. */
  constructor(known: readonly ReplicaReport[], nowMs: number, options: PoolOptions = {}) {
    const breakers = new Breakers(options.savedBreakers ?? null, nowMs, options.random ?? (() => 0.5));
    this.#fleet = new Fleet(breakers, options.holding ?? HOLDING, options.policy ?? null, nowMs);
    this.#queue = new HeldQueue(this.#fleet);
    this.#takesOver = options.takeOver ?? true;
    for (const report of known) {
      const replica = this.#fleet.add(report, nowMs);
      const saved = options.saved?.find(({ id }) => id === report.id);
      if (saved) restore(replica, saved);
    }
  }

  /** A permit now, a place in a replica's queue, or a refusal. The same id is answered the same. */
  acquire(ask: AcquireAsk, nowMs: number): Grant | Refused | Held {
    this.#fleet.configure(ask.config);
    const permit = this.#permits.get(ask.id);
    if (permit) return permit.grant;
    const waiting = this.#queue.get(ask.id);
    if (waiting) return heldAs(waiting);
    const { tokensPerSecond } = this.#fleet.config;
    const flowWait = tokensPerSecond === null ? 0 : flowWaitMs(this.#flow, tokensPerSecond, nowMs);
    if (flowWait > 0) return refused("too_many_tokens", flowWait);
    if (ask.resumes && this.#resumes.full(this.#fleet.capacity(nowMs), nowMs)) {
      return refused("full", RESUME_WINDOW_MS);
    }
    const entry = entryOf(ask, this.#arrivals++, nowMs);
    const usable = this.#fleet.usable(ask.exclude, nowMs);
    const chosen = this.#fleet.choose(usable, entry, nowMs);
    if (!chosen) return refused("no_replica", RETRY_NO_REPLICA_MS);
    if (this.#isNext(entry, chosen, nowMs)) return this.#sendInTime(entry, chosen, nowMs);
    if (ask.waitMs > 0) return this.#hold(entry, chosen, nowMs);
    const free = usable.filter((replica) => this.#isNext(entry, replica, nowMs));
    const other = this.#fleet.choose(free, entry, nowMs);
    if (other) return this.#sendInTime(entry, other, nowMs);
    const waitMs = this.#queue.predictedWaitMs(entry, chosen, nowMs);
    return refused("full", waitMs > 0 ? waitMs : RETRY_UNKNOWN_MS);
  }

  /** Its first token came: the next prompt runs now. Returns who is sent because of that. */
  started(id: string, nowMs: number): Resolved[] {
    const permit = this.#permits.get(id);
    const replica = permit && this.#fleet.replicas.get(permit.replica);
    this.#placed.started(id);
    return replica?.prefill.started(id, nowMs) ? this.#serve(nowMs) : [];
  }

  /** Keeps a permit for another while. An unknown one is taken up again: this pool restarted (permits.md). */
  extend(id: string, replicaId: string, nowMs: number): void {
    if (this.#permits.extend(id, nowMs)) return;
    const waiting = this.#queue.get(id);
    if (waiting) this.#queue.remove(waiting, nowMs);
    this.#permits.put(id, { kind: "granted", replica: replicaId }, 0, null, nowMs);
    const replica = this.#fleet.replicas.get(replicaId);
    if (replica) replica.permits += 1;
  }

  /** Gives a permit or a place in the queue back, once; a second call does nothing. Returns who is next. */
  release(id: string, outcome: PermitOutcome, nowMs: number): Resolved[] {
    const waiting = this.#queue.get(id);
    if (waiting) {
      this.#queue.abandon(waiting, nowMs);
      return this.#serve(nowMs);
    }
    const permit = this.#permits.take(id);
    if (!permit) return [];
    this.#fleet.breakers.ended(permit.replica, id, outcome, nowMs);
    const replica = this.#fleet.replicas.get(permit.replica);
    if (replica) {
      const heldForMs = outcome === "answered" && permit.sentAtMs !== null ? nowMs - permit.sentAtMs : null;
      replica.ended(id, permit.kvTokens, heldForMs, nowMs);
      const ceiling = this.#fleet.config.concurrencyPerReplica;
      if (outcome === "overloaded") replica.concurrency.overloaded(ceiling, nowMs);
    }
    return this.#serve(nowMs);
  }

  /** What a gate says of the replicas. Returns whether membership or usability changed, and who is next. */
  heartbeat(beat: Heartbeat, nowMs: number): { changed: boolean; resolved: Resolved[] } {
    const fleet = this.#fleet;
    fleet.configure(beat.config);
    if (beat.roomElsewhere !== undefined) fleet.breakers.elsewhere(beat.roomElsewhere, nowMs);
    const before = this.#fingerprint(nowMs);
    for (const report of beat.replicas) {
      const isNew = !fleet.replicas.has(report.id);
      const replica = fleet.heard(report, nowMs);
      // It may have been forgotten while a stream of it went on.
      if (isNew) replica.permits = this.#permits.at(report.id).length;
      if (isNew) for (const { kvTokens } of this.#permits.at(report.id)) replica.kvTokens += kvTokens;
    }
    fleet.breakers.observeAll(observedIn(beat), nowMs);
    let tokens = 0;
    for (const tally of beat.tallies) {
      tokens += tally.tokens;
      const replica = fleet.replicas.get(tally.replica);
      if (tally.overloaded > 0) replica?.concurrency.overloaded(fleet.config.concurrencyPerReplica, nowMs);
    }
    if (fleet.config.tokensPerSecond !== null) {
      this.#flow = poured(this.#flow, tokens, fleet.config.tokensPerSecond, nowMs);
    }
    for (const served of beat.served ?? []) {
      const replica = fleet.replicas.get(this.#permits.get(served.id)?.replica ?? "");
      // Its first token must have come, though nobody said when.
      replica?.prefill.ended(served.id, nowMs);
      this.#placed.served(served, fleet.replicas);
    }
    return { changed: before !== this.#fingerprint(nowMs), resolved: this.#serve(nowMs) };
  }

  /** Ends what has run out: permits without a sign of life, waiters past their time, replicas long gone. */
  sweep(nowMs: number): Resolved[] {
    const resolved: Resolved[] = [];
    for (const { id } of this.#permits.expired(nowMs)) resolved.push(...this.release(id, "failed", nowMs));
    for (const { id } of this.#queue.takeEnded(nowMs)) {
      resolved.push({ id, answer: refused("waited_too_long", RETRY_NO_REPLICA_MS) });
    }
    this.#fleet.sweep(nowMs);
    return [...resolved, ...this.#serve(nowMs)];
  }

  /** When something is due if nothing else happens: a permit or a wait runs out, or a held request may be sent. */
  nextDeadlineMs(nowMs: number): number | null {
    let next = Math.min(this.#permits.nextExpiryMs(), this.#queue.nextEndMs());
    for (const { held, prefill } of this.#fleet.replicas.values()) {
      if (held.size === 0) continue;
      const below = prefill.belowAtMs(this.#fleet.holding.prefillAheadTokens, nowMs);
      if (below !== null) next = Math.min(next, below);
    }
    return Number.isFinite(next) ? next : null;
  }

  /** Whether this request has a permit. */
  holds(id: string): boolean {
    return this.#permits.get(id) !== undefined;
  }

  reports(): ReplicaReport[] {
    return [...this.#fleet.replicas.values()].map((replica) => replica.report);
  }

  /** Indexes and speeds, at most `PREFIX_SNAPSHOT_MAX_BYTES` of names. */
  save(): SavedReplica[] {
    return savedReplicas(this.#fleet.replicas);
  }

  get breakers(): Breakers {
    return this.#fleet.breakers;
  }

  get waiting(): number {
    return this.#queue.size;
  }

  /** See `Fleet`. */
  loadShare(nowMs: number): number {
    return this.#fleet.loadShare(this.#queue.size, nowMs);
  }

  view(nowMs: number): Omit<PoolState, "pool" | "model" | "epoch" | "atMs" | "colo" | "learned"> {
    const usable = this.#fleet.usable([], nowMs);
    const firstTokenMs = this.#queue.firstTokenMs(usable, nowMs);
    const waits = BANDS.map((band) => [band, this.#queue.waitMsOf(band, usable, nowMs)]);
    return {
      ...this.#fleet.views(nowMs),
      inUse: this.#permits.size,
      waiting: this.#queue.size,
      waitMs: Object.fromEntries(waits) as Record<Band, number>,
      ...(firstTokenMs === null ? {} : { firstTokenMs }),
      waitErrors: this.#queue.errors.view(),
      breaker: this.breakers.poolState(nowMs),
      breakerShare: this.breakers.poolShare(nowMs),
      breakers: this.breakers.view(nowMs),
    };
  }

  #isNext(entry: Entry, replica: Replica, nowMs: number): boolean {
    return this.#fleet.mayTake(replica, entry, nowMs) && !this.#queue.isBehind(entry, replica, nowMs);
  }

  #sendInTime(entry: Entry, replica: Replica, nowMs: number): Grant | Refused {
    const lateMs = latenessMs(entry, replica, 0, nowMs);
    return lateMs > 0 ? refused("too_late", lateMs) : this.#send(entry, replica, nowMs);
  }

  /** A place in its replica's queue, unless it is known by now that it would be of no use. */
  #hold(entry: Entry, replica: Replica, nowMs: number): Held | Refused {
    const waitMs = this.#queue.predictedWaitMs(entry, replica, nowMs);
    if (this.#queue.isFull(entry.work.bytes)) return refused("full", Math.max(waitMs, RETRY_UNKNOWN_MS));
    const lateMs = latenessMs(entry, replica, waitMs, nowMs);
    if (lateMs > 0) return refused("too_late", lateMs);
    const leftMs = entry.untilMs - nowMs;
    if (waitMs > leftMs) return refused("full", waitMs - leftMs);
    entry.predictedWaitMs = waitMs;
    this.#queue.hold(entry);
    return heldAs(entry);
  }

  #send(entry: Entry, replica: Replica, nowMs: number): Grant {
    const ahead = replica.prefill.aheadTokens(nowMs);
    const grant: Grant = {
      kind: "granted",
      replica: replica.id,
      predictedMs: Math.round(firstTokenMsAt(replica, entry.uncachedTokens, ahead)),
      cachedTokens: Math.round(entry.cachedTokens),
    };
    if (entry.resumes) this.#resumes.count(nowMs);
    this.#placed.sent(entry, replica);
    this.#queue.served(entry);
    replica.sent(entry, nowMs);
    this.#fleet.breakers.sent(replica.id, entry.id, nowMs);
    this.#permits.put(entry.id, grant, kvTokensOf(entry.work), nowMs, nowMs);
    return grant;
  }

  #serve(nowMs: number): Resolved[] {
    const send = (entry: Entry, replica: Replica) => this.#send(entry, replica, nowMs);
    return dispatched(this.#fleet, this.#queue, send, this.#takesOver, nowMs);
  }

  #fingerprint(nowMs: number): string {
    return [...this.#fleet.replicas.values()]
      .map((replica) => {
        const usable = this.#fleet.isUsable(replica, nowMs);
        return `${replica.id}:${replica.report.state}:${usable}:${this.#fleet.breakers.state(replica.id, nowMs)}`;
      })
      .join(",")
      .concat(this.breakers.poolState(nowMs));
  }
}
