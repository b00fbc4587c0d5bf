import {
  HEARTBEAT_SILENCE_MAX_MS,
  PERMIT_TTL_MS,
  POOL_QUEUE_MAX,
  POOL_RECOVERY_MS,
  RESUME_WINDOW_MS,
} from "../bounds.ts";
import type { ReplicaReport } from "../contract/report.ts";
import { admits, type Breaker, CLOSED, probed, tallied } from "./breaker.ts";
import { type Flow, flowWaitMs, NO_FLOW, poured } from "./flow.ts";
import type {
  AcquireAsk,
  Grant,
  Heartbeat,
  PermitOutcome,
  PoolConfig,
  Refused,
  ReplicaView,
} from "./messages.ts";
import { ResumeWindow } from "./resumes.ts";

/**
 * One pool's permits for one model. No clock, no I/O: the object around it brings the time and carries grants to
 * those who wait. Permits live in memory only: their holders' sessions are the lease, and after a restart the
 * heartbeats say what still runs (I4: permits out ≤ capacity; the gate's caps are the hard limit).
 */
interface Replica {
  report: ReplicaReport;
  seenAtMs: number;
  breaker: Breaker;
  permits: number;
}

interface Permit {
  readonly id: string;
  readonly replica: string;
  expiresAtMs: number;
}

interface Waiter {
  readonly ask: AcquireAsk;
  readonly untilMs: number;
}

/** Somebody who waited, and what to tell them. */
export interface Resolved {
  readonly id: string;
  readonly answer: Grant | Refused;
}

export class Pool {
  readonly #replicas = new Map<string, Replica>();
  readonly #permits = new Map<string, Permit>();
  readonly #waiting = new Map<string, Waiter>();
  readonly #startedAtMs: number;
  #config: PoolConfig = { catalogueVersion: -1, concurrencyPerReplica: 1, tokensPerSecond: null };
  #flow: Flow = NO_FLOW;
  readonly #resumes = new ResumeWindow();

  /** `known` are the replicas that the object remembers from before its restart. */
  constructor(known: readonly ReplicaReport[], nowMs: number) {
    this.#startedAtMs = nowMs;
    for (const report of known) {
      this.#replicas.set(report.id, { report, seenAtMs: nowMs, breaker: CLOSED, permits: 0 });
    }
  }

  /** A permit now, a place in the queue, or a refusal. */
  acquire(ask: AcquireAsk, nowMs: number): Grant | Refused | { readonly kind: "waiting" } {
    this.#configure(ask.config);
    const held = this.#permits.get(ask.id);
    if (held) return { kind: "granted", replica: held.replica };
    const { tokensPerSecond } = this.#config;
    const flowWait = tokensPerSecond === null ? 0 : flowWaitMs(this.#flow, tokensPerSecond, nowMs);
    if (flowWait > 0) return { kind: "refused", reason: "too_many_tokens", retryAfterMs: flowWait };
    if (ask.resumes && this.#resumes.full(this.#capacity(nowMs), nowMs)) {
      return { kind: "refused", reason: "full", retryAfterMs: RESUME_WINDOW_MS };
    }
    const replica = this.#choose(ask.exclude, nowMs);
    if (replica) {
      if (ask.resumes) this.#resumes.count(nowMs);
      return this.#grant(ask.id, replica, nowMs);
    }
    if (this.#usable(ask.exclude, nowMs).length === 0) {
      return { kind: "refused", reason: "no_replica", retryAfterMs: 2_000 };
    }
    if (ask.waitMs <= 0 || this.#waiting.size >= POOL_QUEUE_MAX) {
      return { kind: "refused", reason: "full", retryAfterMs: 1_000 };
    }
    this.#waiting.set(ask.id, { ask, untilMs: nowMs + ask.waitMs });
    return { kind: "waiting" };
  }

  /** Keeps a permit for another while. An unknown one is taken up again: this pool restarted (permits.md). */
  extend(id: string, replica: string, nowMs: number): void {
    const permit = this.#permits.get(id);
    if (permit) permit.expiresAtMs = nowMs + PERMIT_TTL_MS;
    else this.#put(id, replica, nowMs);
  }

  /** Gives a permit or a place in the queue back, once; a second call does nothing. Returns who is next. */
  release(id: string, outcome: PermitOutcome, nowMs: number): Resolved[] {
    this.#waiting.delete(id);
    const permit = this.#permits.get(id);
    if (!permit) return [];
    this.#permits.delete(id);
    const replica = this.#replicas.get(permit.replica);
    if (replica) {
      replica.permits -= 1;
      if (replica.permits < 0)
        throw new Error(`pool: ${permit.replica} gave back more permits than it had (I4)`);
      if (outcome === "failed" && replica.breaker.state === "half_open") {
        replica.breaker = tallied(replica.breaker, 0, 1, nowMs);
      }
    }
    return this.#serveQueue(nowMs);
  }

  /** What a gate says of the replicas. Returns whether membership or usability changed, and who is next. */
  heartbeat(beat: Heartbeat, nowMs: number): { changed: boolean; resolved: Resolved[] } {
    this.#configure(beat.config);
    const before = this.#fingerprint(nowMs);
    for (const report of beat.replicas) {
      const known = this.#replicas.get(report.id);
      if (!known) {
        // It may have been forgotten while a stream of it went on.
        const permits = [...this.#permits.values()].filter(({ replica }) => replica === report.id).length;
        this.#replicas.set(report.id, { report, seenAtMs: nowMs, breaker: CLOSED, permits });
        continue;
      }
      if (known.report.bootId !== report.bootId) known.breaker = CLOSED;
      known.report = report;
      known.seenAtMs = nowMs;
    }
    let tokens = 0;
    for (const tally of beat.tallies) {
      tokens += tally.tokens;
      const replica = this.#replicas.get(tally.replica);
      if (replica) replica.breaker = tallied(replica.breaker, tally.ok, tally.failed, nowMs);
    }
    if (this.#config.tokensPerSecond !== null) {
      this.#flow = poured(this.#flow, tokens, this.#config.tokensPerSecond, nowMs);
    }
    return { changed: before !== this.#fingerprint(nowMs), resolved: this.#serveQueue(nowMs) };
  }

  /** Ends what has run out: permits without a sign of life, waiters past their time, replicas long gone. */
  sweep(nowMs: number): Resolved[] {
    const resolved: Resolved[] = [];
    for (const permit of [...this.#permits.values()]) {
      if (permit.expiresAtMs <= nowMs) resolved.push(...this.release(permit.id, "failed", nowMs));
    }
    for (const [id, waiter] of [...this.#waiting]) {
      if (waiter.untilMs > nowMs) continue;
      this.#waiting.delete(id);
      resolved.push({ id, answer: { kind: "refused", reason: "waited_too_long", retryAfterMs: 2_000 } });
    }
    for (const [id, replica] of this.#replicas) {
      const silentMs = nowMs - replica.seenAtMs;
      if (silentMs > 6 * HEARTBEAT_SILENCE_MAX_MS && replica.permits === 0) this.#replicas.delete(id);
    }
    return [...resolved, ...this.#serveQueue(nowMs)];
  }

  /** When the next permit or waiter runs out, or null. */
  nextDeadlineMs(): number | null {
    let next = Infinity;
    for (const permit of this.#permits.values()) next = Math.min(next, permit.expiresAtMs);
    for (const waiter of this.#waiting.values()) next = Math.min(next, waiter.untilMs);
    return Number.isFinite(next) ? next : null;
  }

  reports(): ReplicaReport[] {
    return [...this.#replicas.values()].map((replica) => replica.report);
  }

  view(nowMs: number): { replicas: ReplicaView[]; capacity: number; inUse: number; waiting: number } {
    const usable = new Set(this.#usable([], nowMs).map((replica) => replica.report.id));
    const replicas = [...this.#replicas.values()].map((replica) => ({
      id: replica.report.id,
      usable: usable.has(replica.report.id),
      state: replica.report.state,
      breaker: replica.breaker.state,
      permits: replica.permits,
      running: replica.report.running,
      waiting: replica.report.waiting,
      kvCacheUsage: replica.report.kvCacheUsage,
      gpuMemoryUsage: replica.report.gpuMemoryUsage,
    }));
    return {
      replicas,
      capacity: this.#capacity(nowMs),
      inUse: this.#permits.size,
      waiting: this.#waiting.size,
    };
  }

  #capacity(nowMs: number): number {
    return this.#usable([], nowMs).length * this.#config.concurrencyPerReplica;
  }

  #configure(config: PoolConfig): void {
    if (config.catalogueVersion > this.#config.catalogueVersion) this.#config = config;
  }

  #usable(exclude: readonly string[], nowMs: number): Replica[] {
    return [...this.#replicas.values()].filter(
      (replica) =>
        replica.report.state === "healthy" &&
        nowMs - replica.seenAtMs <= HEARTBEAT_SILENCE_MAX_MS &&
        !exclude.includes(replica.report.id) &&
        admits(replica.breaker, replica.permits > 0, nowMs),
    );
  }

  /** The least loaded replica with room; ties go to the one with the emptier KV cache. */
  #choose(exclude: readonly string[], nowMs: number): Replica | null {
    let best: Replica | null = null;
    for (const replica of this.#usable(exclude, nowMs)) {
      const load = this.#load(replica, nowMs);
      if (load >= this.#config.concurrencyPerReplica) continue;
      if (best === null) best = replica;
      else {
        const bestLoad = this.#load(best, nowMs);
        const emptier = replica.report.kvCacheUsage < best.report.kvCacheUsage;
        if (load < bestLoad || (load === bestLoad && emptier)) best = replica;
      }
    }
    return best;
  }

  /** Just after a restart the permits of running streams are not back yet: the engines know better. */
  #load(replica: Replica, nowMs: number): number {
    const recovering = nowMs - this.#startedAtMs < POOL_RECOVERY_MS;
    return recovering ? Math.max(replica.permits, replica.report.running) : replica.permits;
  }

  #grant(id: string, replica: Replica, nowMs: number): Grant {
    replica.breaker = probed(replica.breaker);
    this.#put(id, replica.report.id, nowMs);
    return { kind: "granted", replica: replica.report.id };
  }

  #put(id: string, replicaId: string, nowMs: number): void {
    this.#permits.set(id, { id, replica: replicaId, expiresAtMs: nowMs + PERMIT_TTL_MS });
    const replica = this.#replicas.get(replicaId);
    if (replica) replica.permits += 1;
  }

  #serveQueue(nowMs: number): Resolved[] {
    const resolved: Resolved[] = [];
    for (const [id, { ask }] of this.#waiting) {
      const replica = this.#choose(ask.exclude, nowMs);
      if (!replica) break;
      this.#waiting.delete(id);
      resolved.push({ id, answer: this.#grant(id, replica, nowMs) });
    }
    return resolved;
  }

  #fingerprint(nowMs: number): string {
    const usable = new Set(this.#usable([], nowMs).map((replica) => replica.report.id));
    return [...this.#replicas.values()]
      .map(({ report, breaker }) => `${report.id}:${report.state}:${usable.has(report.id)}:${breaker.state}`)
      .join(",");
  }
}
