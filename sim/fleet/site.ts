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
  /** The engine died with it, or said nothing of use, or nothing at all for too long. */
  failed(why: "died" | "garbage" | "silent"): void;
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

/** The replicas of one region and the gate before them: takes orders, counts, and reports once a second. */
export class Site {
  readonly replicas: readonly string[];
  readonly #events: Events;
  readonly #engines = new Map<string, StepEngine>();
  readonly #running = new Map<string, Map<string, Running>>();
  readonly #faults = new Map<string, Fault>();
  readonly #boots = new Map<string, number>();
  readonly #down = new Set<string>();
  #tallies = new Map<string, { ok: number; failed: number; slow: number; tokens: number }>();
  #served: Served[] = [];
  #sequence = 0;
  readonly #firstTokenTimeoutMs: number;

  constructor(
    replicas: readonly string[],
    spec: EngineSpec,
    sizes: Int32Array,
    events: Events,
    firstTokenTimeoutMs = Infinity,
  ) {
    this.replicas = replicas;
    this.#events = events;
    this.#firstTokenTimeoutMs = firstTokenTimeoutMs;
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
    if (this.#down.has(replica)) return this.#refuse(replica, events, "died");
    const fault = this.#faults.get(replica);
    if (fault?.kind === "garbage") return this.#refuse(replica, events, "garbage");
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
    if (Number.isFinite(this.#firstTokenTimeoutMs)) {
      this.#events.after(this.#firstTokenTimeoutMs, () => this.#isLate(replica, running));
    }
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
  }

  /** Its process is gone, with all that ran there. */
  kill(replica: string): void {
    this.#down.add(replica);
    this.engine(replica).restart();
    const lost = [...this.#running.get(replica)!.values()];
    this.#running.get(replica)!.clear();
    for (const { events } of lost) this.#refuse(replica, events, "died");
  }

  start(replica: string): void {
    this.#down.delete(replica);
    this.#boots.set(replica, (this.#boots.get(replica) ?? 0) + 1);
  }

  /** One batch, as its pool's object gets it. */
  beat(config: PoolConfig, model: string): Heartbeat {
    const tallies = [...this.#tallies].map(([replica, tally]): Tally => {
      return { replica, model, overloaded: 0, ...tally, tokens: Math.round(tally.tokens) };
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

  #isLate(replica: string, running: Running): void {
    if (running.firstTokenMs !== null || this.#running.get(replica)!.get(running.id) !== running) return;
    this.abort(replica, running.id);
    this.#refuse(replica, running.events, "silent");
  }

  #refuse(replica: string, events: CallEvents, why: "died" | "garbage" | "silent"): void {
    this.#tally(replica).failed += 1;
    events.failed(why);
  }

  #tally(replica: string) {
    const tally = this.#tallies.get(replica) ?? { ok: 0, failed: 0, slow: 0, tokens: 0 };
    this.#tallies.set(replica, tally);
    return tally;
  }
}

/** As a gate's tallies count it (DESIGN: P99 above 10 s). */
const SLOW_MS = 10_000;
