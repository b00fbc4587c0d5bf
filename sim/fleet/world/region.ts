import type { Pool } from "../../../src/catalogue.ts";
import type { Grant, PoolConfig, PoolState } from "../../../src/routing/messages.ts";
import type { Call } from "../cast.ts";
import { type CallEvents, Site } from "../site.ts";
import type { EngineSpec } from "../step-engine.ts";
import { MODEL } from "./places.ts";
import { PoolObject } from "./pool-object.ts";
import type { VirtualTime } from "./virtual-time.ts";

const BEAT_MS = 1_000;

export interface RegionOptions {
  readonly pool: Pool;
  readonly config: PoolConfig;
  readonly replicas: number;
  readonly engine: EngineSpec;
  readonly sizes: Int32Array;
  readonly firstTokenTimeoutMs: number;
  readonly publish: (state: PoolState) => void;
}

/** One region: its replicas behind a gate, and its pool's object, which lives on when the region dies. */
export class Region {
  readonly pool: Pool;
  readonly config: PoolConfig;
  readonly site: Site;
  readonly object: PoolObject;
  readonly #time: VirtualTime;
  #gateIsUp = true;
  objectIsLost = false;
  /** The most requests that one of its replicas ever had at once. */
  inFlightMost = 0;

  constructor(time: VirtualTime, options: RegionOptions) {
    const { pool, config, engine, sizes, firstTokenTimeoutMs } = options;
    this.pool = pool;
    this.config = config;
    this.#time = time;
    const replicas = Array.from({ length: options.replicas }, (_, index) => `${pool.id}-${index}`);
    const cap = config.concurrencyPerReplica;
    this.site = new Site(replicas, engine, sizes, time.events, { firstTokenTimeoutMs, cap });
    this.object = new PoolObject(pool.id, MODEL.id, time, options.publish);
    this.#beat();
  }

  /** No gate: whoever calls gets the tunnel's own error. */
  get isReachable(): boolean {
    return this.#gateIsUp;
  }

  order({ replica }: Pick<Grant, "replica">, id: string, call: Call, events: CallEvents): void {
    this.site.call(replica, id, call, events);
    this.inFlightMost = Math.max(this.inFlightMost, this.site.inFlight(replica));
  }

  die(): void {
    this.#gateIsUp = false;
    for (const replica of this.site.replicas) this.site.kill(replica);
  }

  return(): void {
    this.#gateIsUp = true;
    for (const replica of this.site.replicas) this.site.start(replica);
  }

  #beat(): void {
    if (this.#gateIsUp && !this.objectIsLost) this.object.heartbeat(this.site.beat(this.config, MODEL.id));
    this.#time.events.after(BEAT_MS, () => this.#beat());
  }
}
