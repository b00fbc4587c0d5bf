import type { PoolConfig } from "../../../src/routing/messages.ts";
import type { Call, Cast } from "../cast.ts";
import { dice } from "../hash.ts";
import type { EngineSpec } from "../step-engine.ts";
import { SimDirectory } from "./directory.ts";
import { Edge } from "./edge.ts";
import { cityOf, poolOf, REGION_NAMES } from "./places.ts";
import { Region } from "./region.ts";
import type { Seen } from "./request.ts";
import type { Resumes } from "./resume.ts";
import { VirtualTime } from "./virtual-time.ts";

export interface WorldOptions {
  readonly seed: number;
  readonly cast: Cast;
  readonly engine: EngineSpec;
  readonly replicasPerRegion: number;
  readonly concurrencyPerReplica: number;
  readonly firstTokenTimeoutMs: number;
  readonly resumes?: Resumes;
}

/** From a pool's object to a directory, wherever both are. */
const PUBLISH_MS = 50;
/** Pools and directories know each other before the first request. */
const WARM_UP_MS = 5_000;

/** Regions, directories and edges, and the requests of a trace among them. */
export class World {
  readonly time = new VirtualTime();
  readonly regions = new Map<string, Region>();
  readonly edges = new Map<string, Edge>();
  readonly directories = new Map<string, SimDirectory>();
  readonly seen: Seen[] = [];
  readonly #options: WorldOptions;
  #numbers = 0;
  #open = 0;

  constructor(options: WorldOptions) {
    this.#options = options;
    for (const id of REGION_NAMES) this.regions.set(id, this.#region(id));
  }

  get options(): WorldOptions {
    return this.#options;
  }

  /** Milliseconds since the first request; faults are planned on this clock. */
  at(ms: number, run: () => void): void {
    this.time.events.after(WARM_UP_MS + ms, run);
  }

  region(id: string): Region {
    const region = this.regions.get(id);
    if (!region) throw new Error(`no region ${id}`);
    return region;
  }

  /** Plays all requests and waits for the last of them. */
  async play(): Promise<readonly Seen[]> {
    const { calls } = this.#options.cast;
    for (const call of calls) this.#edgeAt(call);
    this.#open = calls.length;
    for (const call of calls) this.at(call.atMs, () => void this.#serve(call));
    const lastMs = calls.at(-1)!.atMs;
    for (let untilMs = lastMs; this.#open > 0; untilMs += 60_000) await this.time.run(WARM_UP_MS + untilMs);
    return this.seen;
  }

  async #serve(call: Call): Promise<void> {
    const seen = await this.#edgeAt(call).infer(call);
    this.#open -= 1;
    const sinceStart = (ms: number) => ms - WARM_UP_MS;
    this.seen.push({
      ...seen,
      atMs: sinceStart(seen.atMs),
      endMs: sinceStart(seen.endMs),
      brokeAtMs: seen.brokeAtMs === null ? null : sinceStart(seen.brokeAtMs),
    });
  }

  #edgeAt({ place }: Call): Edge {
    const city = cityOf(place);
    const known = this.edges.get(city.name);
    if (known) return known;
    const directory = new SimDirectory();
    this.directories.set(city.name, directory);
    for (const { object } of this.regions.values()) directory.publish(object.state(), this.time.nowMs);
    const { firstTokenTimeoutMs, resumes = { haveShare: true } } = this.#options;
    const random = () => dice(this.#options.seed, this.#numbers++, 7);
    const { time, regions } = this;
    const edge = new Edge({ city, time, random, resumes, regions, directory, firstTokenTimeoutMs });
    this.edges.set(city.name, edge);
    return edge;
  }

  #region(id: string): Region {
    const { engine, cast, replicasPerRegion, concurrencyPerReplica, firstTokenTimeoutMs } = this.#options;
    const config: PoolConfig = { catalogueVersion: 1, concurrencyPerReplica, tokensPerSecond: null };
    return new Region(this.time, {
      ...{ pool: poolOf(id, concurrencyPerReplica), config, replicas: replicasPerRegion, engine },
      ...{ sizes: cast.sizes, firstTokenTimeoutMs },
      publish: (state) =>
        this.time.events.after(PUBLISH_MS, () => {
          for (const directory of this.directories.values()) directory.publish(state, this.time.nowMs);
        }),
    });
  }
}
