import type { ReplicaReport } from "../contract/report.ts";
import {
  POLL_TIMEOUTS_UNTIL_DOWN,
  REPLICA_DRAINING_MS,
  REPLICAS_MAX,
  UNSEEN_REPLICA_KEPT_MS,
} from "./bounds.ts";
import type { Clock } from "./clock.ts";
import type { ReplicaSource } from "./config.ts";
import { discover, type ReplicaAddress, type Resolve, rediscoveryMs } from "./discovery.ts";
import { awsDiscovery, type CloudParts } from "./discovery-aws.ts";
import type { Log } from "./log.ts";
import { type Pace, paced } from "./pace.ts";
import type { EngineLoad, Probe, ProbeTarget } from "./probe.ts";

export type ReplicaState = ReplicaReport["state"];

export interface Replica {
  readonly id: string;
  readonly url: string;
  readonly dcgmUrl: string | undefined;
  state: ReplicaState;
  inFlight: number;
  models: readonly string[];
  load: EngineLoad;
  /** Null where its engine does not count. */
  pace: Pace | null;
  gpuMemoryUsage: number | null;
  /** When it was last seen to have computed anything, or to have nothing to do; monotonic. */
  movedAtMs: number;
  timeouts: number;
  /** What the latest look, or a refused connection, said. */
  health: Probe["health"];
  /** Set while it refuses new chats because it is shutting down; monotonic. */
  drainingUntilMs: number | null;
  /** No longer discovered, or about to be ended: finishes what it has and, once undiscovered, is forgotten. */
  leaving: boolean;
  /** Since when it is down; monotonic. */
  downSinceMs: number | null;
}

export interface ReplicasParts {
  readonly source: ReplicaSource;
  readonly probe: (target: ProbeTarget) => Promise<Probe>;
  readonly resolve: Resolve;
  /** How the cloud's API and the machine's metadata are asked, where the source is the cloud. */
  readonly cloud?: Pick<CloudParts, "env" | "fetch">;
  /** Between two looks at a replica. */
  readonly pollMs: number;
  readonly clock: Clock;
  readonly log: Log;
  /** A replica came, went or changed its state. */
  onChange(replica: Replica): void;
}

const UNKNOWN_LOAD: EngineLoad = {
  running: 0,
  waiting: 0,
  kvCacheUsage: 0,
  cacheTokens: null,
  hostCacheTokens: null,
  firstTokens: null,
  bootId: "",
};

/** The pool's replicas: which there are, and how each is. */
export class Replicas {
  readonly #parts: ReplicasParts;
  readonly #byId = new Map<string, Replica>();
  readonly #timers = new Set<NodeJS.Timeout>();
  readonly #discover: () => Promise<ReplicaAddress[]>;
  #closed = false;

  constructor(parts: ReplicasParts) {
    this.#parts = parts;
    const { source, resolve, clock, cloud = { env: process.env, fetch } } = parts;
    this.#discover =
      "aws" in source ? awsDiscovery(source.aws, { ...cloud, clock }) : () => discover(source, resolve);
  }

  /** Resolves when every replica was looked at once. */
  async start(): Promise<void> {
    await this.#discoverOnce();
    await Promise.all([...this.#byId.values()].map((replica) => this.#pollOnce(replica)));
    for (const replica of this.#byId.values()) this.#keepPolling(replica);
    const everyMs = rediscoveryMs(this.#parts.source);
    if (everyMs !== null) this.#every(everyMs, () => this.#rediscover());
  }

  close(): void {
    this.#closed = true;
    for (const timer of this.#timers) clearTimeout(timer);
    this.#timers.clear();
  }

  get(id: string): Replica | undefined {
    return this.#byId.get(id);
  }

  all(): Replica[] {
    return [...this.#byId.values()];
  }

  reports(): ReplicaReport[] {
    return this.all().map((replica) => ({
      id: replica.id,
      models: [...replica.models],
      state: replica.state,
      inFlight: replica.inFlight,
      running: Math.round(replica.load.running),
      waiting: Math.round(replica.load.waiting),
      kvCacheUsage: replica.load.kvCacheUsage,
      gpuMemoryUsage: replica.gpuMemoryUsage,
      bootId: replica.load.bootId.slice(0, 64),
      ...(replica.load.cacheTokens === null ? {} : { cacheTokens: replica.load.cacheTokens }),
      ...(replica.load.hostCacheTokens === null ? {} : { hostCacheTokens: replica.load.hostCacheTokens }),
    }));
  }

  /** A connection to it was refused: nobody should wait for the next look. */
  refused(id: string): void {
    const replica = this.#byId.get(id);
    if (replica === undefined) return;
    replica.health = "refused";
    this.#setState(replica, "down");
  }

  /** It answered a chat that it is shutting down, which its health check does not tell. */
  drains(id: string): void {
    const replica = this.#byId.get(id);
    if (replica === undefined) return;
    replica.drainingUntilMs = this.#parts.clock.monotonicMs() + REPLICA_DRAINING_MS;
    if (replica.state === "healthy") this.#setState(replica, "draining");
  }

  async #discoverOnce(): Promise<void> {
    let found: ReplicaAddress[];
    try {
      found = await this.#discover();
    } catch (error) {
      // A resolver or a cloud that fails says nothing about the replicas: those known stay.
      this.#parts.log.warn("discovery_failed", { reason: reasonOf(error) });
      this.#forgetLongDead();
      return;
    }
    const nowMs = this.#parts.clock.monotonicMs();
    const byId = new Map(found.map((address) => [address.id, address]));
    for (const replica of this.#byId.values()) {
      const address = byId.get(replica.id);
      replica.leaving = address === undefined || address.draining === true;
      if (replica.leaving && replica.state === "healthy") this.#setState(replica, "draining");
      if (address === undefined && replica.inFlight === 0) this.#forget(replica);
    }
    for (const address of found.slice(0, REPLICAS_MAX)) {
      if (!this.#byId.has(address.id)) this.#byId.set(address.id, newReplica(address, nowMs));
    }
  }

  /** The bound of a list that cannot be renewed: by then its machines may be gone, and their addresses another's. */
  #forgetLongDead(): void {
    const nowMs = this.#parts.clock.monotonicMs();
    for (const replica of this.#byId.values()) {
      const { downSinceMs, inFlight } = replica;
      if (downSinceMs === null || inFlight > 0) continue;
      if (nowMs - downSinceMs >= UNSEEN_REPLICA_KEPT_MS) this.#forget(replica);
    }
  }

  async #rediscover(): Promise<void> {
    const known = new Set(this.#byId.keys());
    await this.#discoverOnce();
    for (const replica of this.#byId.values()) {
      if (known.has(replica.id)) continue;
      await this.#pollOnce(replica);
      this.#keepPolling(replica);
    }
  }

  #forget(replica: Replica): void {
    this.#byId.delete(replica.id);
    this.#parts.onChange(replica);
  }

  #keepPolling(replica: Replica): void {
    this.#every(this.#parts.pollMs, async () => {
      if (this.#byId.get(replica.id) !== replica) return "stop";
      await this.#pollOnce(replica);
      return "again";
    });
  }

  async #pollOnce(replica: Replica): Promise<void> {
    const found = await this.#parts.probe(replica);
    if (this.#closed) return;
    if (found.models !== null) replica.models = found.models;
    replica.gpuMemoryUsage = found.gpuMemoryUsage;
    replica.health = found.health;
    replica.timeouts = found.health === "timeout" ? replica.timeouts + 1 : 0;
    if (found.load !== null) {
      // Another process has nothing to do with what the one before it said.
      const isSame = found.load.bootId === replica.load.bootId;
      if (!isSame) replica.drainingUntilMs = null;
      const { firstTokens, waiting } = found.load;
      const nowMs = this.#parts.clock.monotonicMs();
      // Where its counters are not told, nobody can say that they stand still.
      const stands = found.load.tokens !== undefined && found.load.tokens === replica.load.tokens;
      if (!stands || replica.inFlight === 0) replica.movedAtMs = nowMs;
      replica.pace =
        firstTokens === null ? null : paced(isSame ? replica.pace : null, firstTokens, waiting, nowMs);
      replica.load = found.load;
    }
    this.#setState(replica, this.#stateAfter(replica, found.health));
  }

  #stateAfter(replica: Replica, health: Probe["health"]): ReplicaState {
    if (health === "timeout" && replica.timeouts < POLL_TIMEOUTS_UNTIL_DOWN) return replica.state;
    if (health !== "ok") {
      replica.drainingUntilMs = null;
      return "down";
    }
    if (replica.leaving) return "draining";
    const { drainingUntilMs } = replica;
    if (drainingUntilMs !== null && this.#parts.clock.monotonicMs() < drainingUntilMs) return "draining";
    replica.drainingUntilMs = null;
    return "healthy";
  }

  #setState(replica: Replica, state: ReplicaState): void {
    if (replica.state === state) return;
    this.#parts.log.info("replica_state", { replica: replica.id, from: replica.state, to: state });
    replica.state = state;
    replica.downSinceMs = state === "down" ? this.#parts.clock.monotonicMs() : null;
    this.#parts.onChange(replica);
  }

  /** The next round starts a period after the last one began, or when that has ended: rounds never pile up. */
  #every(periodMs: number, round: () => Promise<unknown>): void {
    const { clock } = this.#parts;
    const schedule = (waitMs: number) => {
      const timer = setTimeout(async () => {
        this.#timers.delete(timer);
        const startedAtMs = clock.monotonicMs();
        const next = await round();
        if (!this.#closed && next !== "stop") {
          schedule(Math.max(1, periodMs - (clock.monotonicMs() - startedAtMs)));
        }
      }, waitMs);
      this.#timers.add(timer);
    };
    if (!this.#closed) schedule(periodMs);
  }
}

/** A code where there is one: fetch hides the socket's behind a cause. */
function reasonOf(error: unknown): string {
  const { code, cause, name } = error as NodeJS.ErrnoException & { cause?: { code?: unknown } };
  const known = typeof code === "string" ? code : cause?.code;
  return typeof known === "string" ? known : (name ?? "unknown");
}

function newReplica({ id, url, dcgmUrl, draining = false }: ReplicaAddress, nowMs: number): Replica {
  return {
    id,
    url,
    dcgmUrl,
    state: "down",
    inFlight: 0,
    models: [],
    load: UNKNOWN_LOAD,
    pace: null,
    gpuMemoryUsage: null,
    movedAtMs: nowMs,
    timeouts: 0,
    health: "timeout",
    drainingUntilMs: null,
    leaving: draining,
    downSinceMs: nowMs,
  };
}
