import { TOKEN_GAP_TIMEOUT_MS } from "../../src/bounds.ts";
import type { ReplicaReport, Tally } from "../../src/contract/report.ts";
import type { Heartbeat, PoolConfig, Served } from "../../src/routing/messages.ts";
import type { Events } from "../world/events.ts";
import type { Call } from "./cast.ts";
import { type EngineSpec, type Job, StepEngine } from "./step-engine.ts";

/** What a replica does wrong. */
export type Fault =
  | { readonly kind: "slow"; readonly factor: number }
  /** Takes requests and never answers; its health page goes on saying that all is well. */
  | { readonly kind: "hangs" }
  /** Answers at once, with what no client can use. */
  | { readonly kind: "garbage" };

/** How one call went, told to whoever ordered it. */
export interface CallEvents {
  firstToken(cachedTokens: number): void;
  ended(): void;
  failed(why: Failure, emittedTokens: number): void;
}

/** The engine died with it, answered garbage, said nothing for too long, or has as many requests as it may. */
export type Failure = "died" | "garbage" | "silent" | "overloaded";

export interface SiteOptions {
  readonly firstTokenTimeoutMs: number;
  /** The gate's hard cap of requests per replica. */
  readonly cap: number;
}

interface Running {
  readonly id: string;
  readonly call: Call;
  readonly fromMs: number;
  readonly events: CallEvents;
  readonly job: Job;
  cachedTokens: number;
  firstTokenMs: number | null;
}

interface Counts {
  ok: number;
  failed: number;
  slow: number;
  overloaded: number;
  tokens: number;
}

/** The replicas of one region and the gate before them: takes orders, counts, and reports once a second. */
export class Site {
  readonly replicas: readonly string[];
  readonly #events: Events;
  readonly #engines = new Map<string, StepEngine>();
  readonly #running = new Map<string, Map<string, Running>>();
  readonly #faults = new Map<string, Fault>();
  readonly #boots = new Map<string, number>();
  readonly #down = new Set<string>();
  #tallies = new Map<string, Counts>();
  #served: Served[] = [];
  #sequence = 0;
  readonly #spec: EngineSpec;
  readonly #options: SiteOptions;

  constructor(
    replicas: readonly string[],
    spec: EngineSpec,
    sizes: Int32Array,
    events: Events,
    options: SiteOptions = { firstTokenTimeoutMs: Infinity, cap: Infinity },
  ) {
    this.replicas = replicas;
    this.#events = events;
    this.#spec = spec;
    this.#options = options;
    for (const id of replicas) {
      this.#engines.set(id, new StepEngine(spec, sizes, events));
      this.#running.set(id, new Map());
    }
  }

  engine(replica: string): StepEngine {
    return this.#engines.get(replica)!;
  }

  inFlight(replica: string): number {
    return this.#running.get(replica)!.size;
  }

  call(replica: string, id: string, call: Call, events: CallEvents): void {
    const refusal = this.#refusal(replica);
    if (refusal !== null) {
      this.#refuse(replica, events, refusal);
      return;
    }
    const running: Running = {
      id,
      call,
      fromMs: this.#events.nowMs,
      events,
      cachedTokens: 0,
      firstTokenMs: null,
      job: {
        promptTokens: call.promptTokens,
        outputTokens: call.outputTokens,
        roomTokens: call.outputTokens + (call.carriedTokens ?? 0),
        blocks: call.blocks,
        admitted: (cachedTokens) => {
          running.cachedTokens = cachedTokens;
        },
        firstToken: () => {
          running.firstTokenMs = this.#events.nowMs - running.fromMs;
          events.firstToken(running.cachedTokens);
        },
        ended: () => this.#ended(replica, running),
      },
    };
    this.#running.get(replica)!.set(id, running);
    this.engine(replica).submit(running.job);
    const { firstTokenTimeoutMs } = this.#options;
    if (Number.isFinite(firstTokenTimeoutMs)) {
      this.#events.after(firstTokenTimeoutMs, () => this.#checkFirstToken(replica, running));
    }
  }

  #refusal(replica: string): Failure | null {
    if (this.#down.has(replica)) return "died";
    if (this.#faults.get(replica)?.kind === "garbage") return "garbage";
    return this.inFlight(replica) >= this.#options.cap ? "overloaded" : null;
  }

  /** Tokens that a running request has got so far. */
  progress(replica: string, id: string): number {
    const running = this.#running.get(replica)!.get(id);
    return running === undefined ? 0 : this.engine(replica).progress(running.job);
  }

  /** The client left. */
  abort(replica: string, id: string): void {
    const running = this.#running.get(replica)!.get(id);
    if (!running) return;
    this.#running.get(replica)!.delete(id);
    this.engine(replica).abort(running.job);
  }

  fault(replica: string, fault: Fault | null): void {
    if (fault === null) this.#faults.delete(replica);
    else this.#faults.set(replica, fault);
    this.engine(replica).slow(fault?.kind === "slow" ? fault.factor : 1);
    this.engine(replica).freeze(fault?.kind === "hangs");
    if (fault?.kind === "hangs")
      this.#events.after(TOKEN_GAP_TIMEOUT_MS, () => this.#cutSilent(replica, fault));
  }

  /** Its process is gone, with all that ran there. */
  kill(replica: string): void {
    this.#down.add(replica);
    const lost = [...this.#running.get(replica)!.values()];
    const emitted = lost.map(({ job }) => this.engine(replica).progress(job));
    this.engine(replica).restart();
    this.#running.get(replica)!.clear();
    for (const [at, { events }] of lost.entries()) this.#refuse(replica, events, "died", emitted[at]!);
  }

  start(replica: string): void {
    this.#down.delete(replica);
    this.#boots.set(replica, (this.#boots.get(replica) ?? 0) + 1);
  }

  /** One batch, as its pool's object gets it. */
  beat(config: PoolConfig, model: string): Heartbeat {
    const tallies = [...this.#tallies].map(([replica, tally]): Tally => {
      return { replica, model, ...tally };
    });
    const served = this.#served;
    this.#tallies = new Map();
    this.#served = [];
    this.#sequence += 1;
    const replicas = this.replicas.map((id) => this.#report(id, model));
    return { gate: "gate", sequence: this.#sequence, draining: false, config, replicas, tallies, served };
  }

  #report(id: string, model: string): ReplicaReport {
    const engine = this.engine(id);
    return {
      id,
      models: [model],
      state: this.#down.has(id) ? "down" : "healthy",
      inFlight: this.inFlight(id),
      running: engine.running,
      waiting: engine.waiting,
      kvCacheUsage: engine.cacheUsage,
      gpuMemoryUsage: null,
      cacheTokens: this.#spec.gpuTokens,
      hostCacheTokens: this.#spec.hostTokens,
      bootId: `${id}/${this.#boots.get(id) ?? 0}`,
    };
  }

  #ended(replica: string, running: Running): void {
    this.#running.get(replica)!.delete(running.id);
    const { call, cachedTokens, firstTokenMs, id } = running;
    const tally = this.#tally(replica);
    tally.ok += 1;
    if (firstTokenMs !== null && firstTokenMs > SLOW_MS) tally.slow += 1;
    tally.tokens += call.promptTokens - cachedTokens + call.outputTokens;
    this.#served.push({ id, promptTokens: call.promptTokens, cachedTokens, firstTokenMs });
    running.events.ended();
  }

  #checkFirstToken(replica: string, running: Running): void {
    if (running.firstTokenMs !== null || this.#running.get(replica)!.get(running.id) !== running) return;
    this.abort(replica, running.id);
    this.#refuse(replica, running.events, "silent");
  }

  /** Streams that got no token for too long are cut, so that another replica carries them on. */
  #cutSilent(replica: string, fault: Fault): void {
    if (this.#faults.get(replica) !== fault) return;
    for (const running of [...this.#running.get(replica)!.values()]) {
      if (running.firstTokenMs === null) continue;
      const emitted = this.progress(replica, running.id);
      this.abort(replica, running.id);
      this.#refuse(replica, running.events, "silent", emitted);
    }
  }

  #refuse(replica: string, events: CallEvents, why: Failure, emittedTokens = 0): void {
    const tally = this.#tally(replica);
    if (why === "overloaded") tally.overloaded += 1;
    else tally.failed += 1;
    events.failed(why, emittedTokens);
  }

  #tally(replica: string): Counts {
    const tally = this.#tallies.get(replica) ?? { ok: 0, failed: 0, slow: 0, overloaded: 0, tokens: 0 };
    this.#tallies.set(replica, tally);
    return tally;
  }
}

/** As a gate's tallies count it (DESIGN: P99 above 10 s). */
const SLOW_MS = 10_000;
