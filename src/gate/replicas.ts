import { REPLICA_POLL_MS } from "../bounds.ts";
import type { ReplicaReport } from "../contract/report.ts";
import { POLL_TIMEOUTS_UNTIL_DOWN, REPLICA_DRAINING_MS, REPLICAS_MAX } from "./bounds.ts";
import type { Clock } from "./clock.ts";
import type { ReplicaSource } from "./config.ts";
import { discover, type ReplicaAddress, type Resolve } from "./discovery.ts";
import type { Log } from "./log.ts";
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
  gpuMemoryUsage: number | null;
  timeouts: number;
  /** What the latest look, or a refused connection, said. */
  health: Probe["health"];
  /** Set while it refuses new chats because it is shutting down; monotonic. */
  drainingUntilMs: number | null;
  /** No longer discovered: finishes what it has and is then forgotten. */
  leaving: boolean;
}

export interface ReplicasParts {
  readonly source: ReplicaSource;
  readonly probe: (target: ProbeTarget) => Promise<Probe>;
  readonly resolve: Resolve;
  readonly clock: Clock;
  readonly log: Log;
  /** A replica came, went or changed its state. */
  onChange(replica: Replica): void;
}

const UNKNOWN_LOAD: EngineLoad = { running: 0, waiting: 0, kvCacheUsage: 0, bootId: "" };

/** The pool's replicas: which there are, and how each is. */
export class Replicas {
  readonly #parts: ReplicasParts;
  readonly #byId = new Map<string, Replica>();
  readonly #timers = new Set<NodeJS.Timeout>();
  #closed = false;

  constructor(parts: ReplicasParts) {
    this.#parts = parts;
  }

  /** Resolves when every replica was looked at once. */
  async start(): Promise<void> {
    await this.#discoverOnce();
    await Promise.all([...this.#byId.values()].map((replica) => this.#pollOnce(replica)));
    for (const replica of this.#byId.values()) this.#keepPolling(replica);
    const { source } = this.#parts;
    if ("dns" in source) this.#every(source.dns.everyMs, () => this.#rediscover());
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
    const { source, resolve, log } = this.#parts;
    let found: ReplicaAddress[];
    try {
      found = await discover(source, resolve);
    } catch (error) {
      // A resolver that fails says nothing about the replicas: those known stay.
      log.warn("discovery_failed", { reason: (error as NodeJS.ErrnoException).code ?? "unknown" });
      return;
    }
    const ids = new Set(found.map(({ id }) => id));
    for (const replica of this.#byId.values()) {
      replica.leaving = !ids.has(replica.id);
      if (replica.leaving && replica.state === "healthy") this.#setState(replica, "draining");
      if (replica.leaving && replica.inFlight === 0) this.#forget(replica);
    }
    for (const address of found.slice(0, REPLICAS_MAX)) {
      if (!this.#byId.has(address.id)) this.#byId.set(address.id, newReplica(address));
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
    this.#every(REPLICA_POLL_MS, async () => {
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
      if (found.load.bootId !== replica.load.bootId) replica.drainingUntilMs = null;
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

function newReplica({ id, url, dcgmUrl }: ReplicaAddress): Replica {
  return {
    id,
    url,
    dcgmUrl,
    state: "down",
    inFlight: 0,
    models: [],
    load: UNKNOWN_LOAD,
    gpuMemoryUsage: null,
    timeouts: 0,
    health: "timeout",
    drainingUntilMs: null,
    leaving: false,
  };
}
