import { BAND_MIX_TOKENS, HEARTBEAT_SILENCE_MAX_MS, POOL_RECOVERY_MS } from "../../bounds.ts";
import type { ReplicaReport } from "../../contract/report.ts";
import type { Breakers } from "../breakers.ts";
import type { PoolConfig, PoolState, ReplicaView } from "../messages.ts";
import { policyOf } from "../policy/policies.ts";
import type { Choice, Policy } from "../policy/policy.ts";
import { BandShares } from "./bands.ts";
import { cachedTokensOf, type Entry } from "./entry.ts";
import { fits, type Holding, NO_ROOM, Replica, type Room } from "./replica.ts";

const FORGOTTEN_AFTER_MS = 6 * HEARTBEAT_SILENCE_MAX_MS;

/** The replicas of a pool: which may take work, how much, and which one a request is for. */
export class Fleet {
  readonly replicas = new Map<string, Replica>();
  readonly breakers: Breakers;
  readonly holding: Holding;
  /** What each band was sent of late. */
  readonly mix = new BandShares(BAND_MIX_TOKENS);
  config: PoolConfig = { catalogueVersion: -1, concurrencyPerReplica: 1, tokensPerSecond: null };
  readonly #fixedPolicy: Policy | null;
  #policy: Policy;
  readonly #startedAtMs: number;

  constructor(breakers: Breakers, holding: Holding, policy: Policy | null, nowMs: number) {
    [this.breakers, this.holding, this.#fixedPolicy] = [breakers, holding, policy];
    this.#policy = policy ?? policyOf("predicted-ttft");
    this.#startedAtMs = nowMs;
  }

  configure(config: PoolConfig): void {
    if (config.breakers) this.breakers.configure(config.breakers);
    if (config.catalogueVersion <= this.config.catalogueVersion) return;
    const changed = config.policy !== this.config.policy;
    this.config = config;
    if (changed && this.#fixedPolicy === null) this.#policy = policyOf(config.policy ?? "predicted-ttft");
  }

  /** A heartbeat's word on one replica. */
  heard(report: ReplicaReport, nowMs: number): Replica {
    const known = this.replicas.get(report.id);
    if (!known) return this.add(report, nowMs);
    if (known.heard(report, nowMs)) this.breakers.restarted(report.id, nowMs);
    known.concurrency.heard(report, known.permits, this.config.concurrencyPerReplica, nowMs);
    return known;
  }

  add(report: ReplicaReport, nowMs: number): Replica {
    const replica = new Replica(report, nowMs);
    this.replicas.set(report.id, replica);
    return replica;
  }

  /** Forgets who has been silent for long and has nothing. */
  sweep(nowMs: number): void {
    for (const [id, { seenAtMs, permits, held }] of this.replicas) {
      if (nowMs - seenAtMs <= FORGOTTEN_AFTER_MS || permits > 0 || held.size > 0) continue;
      this.replicas.delete(id);
      this.breakers.forget(id);
    }
  }

  isUsable({ id, report, seenAtMs }: Replica, nowMs: number): boolean {
    if (report.state !== "healthy" || nowMs - seenAtMs > HEARTBEAT_SILENCE_MAX_MS) return false;
    return this.breakers.share(id, nowMs) > 0 || this.breakers.mayProbe(id, nowMs);
  }

  usable(exclude: readonly string[], nowMs: number): Replica[] {
    return [...this.replicas.values()].filter(
      (replica) => !exclude.includes(replica.id) && this.isUsable(replica, nowMs),
    );
  }

  /**
   * Requests that it may have out now. One that comes back from a failure gets its share; a probe is one more than what
   * still runs there, which may run for long, but never more than the gate takes (I4).
   */
  limitOf({ id, concurrency, permits }: Replica, nowMs: number): number {
    const ceiling = this.config.concurrencyPerReplica;
    const share = Math.min(1, this.breakers.share(id, nowMs));
    if (share === 0) return Math.min(ceiling, permits + 1);
    return Math.max(1, Math.floor(concurrency.limit(ceiling) * share));
  }

  /** Of normal work that it may take now; what a probe is, where its breaker lets only that through. */
  shareOf({ id }: Replica, nowMs: number): number {
    return Math.min(1, this.breakers.share(id, nowMs)) || 1 / this.config.concurrencyPerReplica;
  }

  /** Just after a restart the permits of running streams are not back yet: the engines know better. */
  loadOf({ permits, report }: Replica, nowMs: number): number {
    return nowMs - this.#startedAtMs < POOL_RECOVERY_MS ? Math.max(permits, report.running) : permits;
  }

  /** Whether it may be sent there now. */
  mayTake(replica: Replica, entry: Entry, nowMs: number): boolean {
    return fits(entry, this.roomOf(replica, nowMs));
  }

  /** Share of memory and permits that batch leaves to the more urgent now. */
  get batchLeaves(): number {
    return Math.min(this.holding.batchLeavesMax, this.mix.urgentShare());
  }

  /** What it may be sent now. */
  roomOf(replica: Replica, nowMs: number): Room {
    const { batchLeaves } = this;
    const room = replica.room(this.holding, batchLeaves, nowMs);
    if (room === NO_ROOM) return room;
    const [load, limit] = [this.loadOf(replica, nowMs), this.limitOf(replica, nowMs)];
    if (load >= limit) return NO_ROOM;
    return load < Math.max(1, limit * (1 - batchLeaves)) ? room : { ...room, batch: -1 };
  }

  capacity(nowMs: number): number {
    let capacity = 0;
    for (const replica of this.replicas.values()) {
      if (this.isUsable(replica, nowMs)) capacity += this.limitOf(replica, nowMs);
    }
    return capacity;
  }

  /**
   * What runs at those that can be used and what is held, as a share of what may run; 0 without any capacity. Counts as what
   * waits are predicted by does, so what engines report of before a restart as well.
   */
  loadShare(held: number, nowMs: number): number {
    let [busy, capacity] = [held, 0];
    for (const replica of this.replicas.values()) {
      if (!this.isUsable(replica, nowMs)) continue;
      busy += this.loadOf(replica, nowMs);
      capacity += this.limitOf(replica, nowMs);
    }
    return capacity === 0 ? 0 : busy / capacity;
  }

  /**
   * The replica for a request among these, null for none. One whose breaker lets a probe through gets it, so that it
   * comes back as soon as it can; else the policy has the choice of those with a permit left, or of all.
   */
  choose(among: readonly Replica[], entry: Entry, nowMs: number): Replica | null {
    const probe = among.find(
      (replica) => this.#isProbed(replica, nowMs) && this.mayTake(replica, entry, nowMs),
    );
    if (probe) return this.#bound(probe, entry);
    const normal = among.filter((replica) => !this.#isProbed(replica, nowMs));
    const all = normal.length > 0 ? normal : among;
    if (all.length === 0) return null;
    const free = all.filter(
      (replica) => this.loadOf(replica, nowMs) + replica.held.size < this.limitOf(replica, nowMs),
    );
    const open = free.length > 0 ? free : all;
    const choices = open.map((replica) => this.choiceOf(replica, entry, nowMs));
    const chosen = open[this.#policy(choices, entry.work)];
    if (!chosen) throw new Error(`pool: the policy chose none of ${open.length} replicas`);
    return this.#bound(chosen, entry);
  }

  choiceOf(replica: Replica, { work }: Entry, nowMs: number): Choice {
    const cachedTokens = cachedTokensOf(work, replica.index.hits(work.blocks));
    return {
      id: replica.id,
      aheadTokens: replica.boundTokens(nowMs, work.band),
      cachedTokens,
      uncachedTokens: work.promptTokens - cachedTokens,
      requests: this.loadOf(replica, nowMs) + replica.held.size,
      limit: this.limitOf(replica, nowMs),
      share: this.shareOf(replica, nowMs),
      tokensPerMs: replica.prefill.speed.tokensPerMs,
      kvCacheUsage: replica.report.kvCacheUsage,
      indexTokens: replica.index.tokens,
    };
  }

  views(nowMs: number): Pick<PoolState, "replicas" | "capacity"> {
    const replicas = [...this.replicas.values()].map((replica): ReplicaView => {
      const { id, permits, report } = replica;
      const { state, running, waiting, kvCacheUsage, gpuMemoryUsage } = report;
      return {
        ...{ id, usable: this.isUsable(replica, nowMs), state, breaker: this.breakers.state(id, nowMs) },
        ...{ permits, running, waiting, kvCacheUsage, gpuMemoryUsage },
        ...{
          prefillAheadTokens: Math.round(replica.boundTokens(nowMs)),
          limit: this.limitOf(replica, nowMs),
        },
      };
    });
    return { replicas, capacity: this.capacity(nowMs) };
  }

  /** Binds a request in its own record: what it is believed to find there. */
  #bound(replica: Replica, entry: Entry): Replica {
    const { work } = entry;
    entry.replica = replica.id;
    entry.hitBlocks = replica.index.hits(work.blocks);
    entry.cachedTokens = cachedTokensOf(work, entry.hitBlocks);
    entry.uncachedTokens = work.promptTokens - entry.cachedTokens;
    return replica;
  }

  #isProbed({ id }: Replica, nowMs: number): boolean {
    return this.breakers.share(id, nowMs) <= 0;
  }
}
