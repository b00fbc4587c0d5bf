import { PERMIT_EXTEND_MS } from "../../src/bounds.ts";
import type { PoolConfig } from "../../src/routing/messages.ts";
import { Events } from "../world/events.ts";
import type { Call, Cast } from "./cast.ts";
import type { Answer, Router, Sent } from "./router.ts";
import { Site } from "./site.ts";
import type { EngineSpec } from "./step-engine.ts";

/** From one machine of a region to the next, one way. */
const HOP_MS = 1;
const BEAT_MS = 1_000;
/** A refused call comes again as the usual SDKs do it: when it was told to, and not sooner than these. */
const BACK_OFF_MIN_MS = 500;
const BACK_OFF_MAX_MS = 8_000;
export const MODEL = "sim";

/** One stay in the router's queue; a call that was refused after it may have another. */
export interface Wait {
  /** As the router said when it began. */
  readonly predictedMs: number;
  readonly realMs: number;
  /** False: refused then, so that it would have waited longer than `realMs`. */
  readonly isSent: boolean;
}

/** What became of one call. Milliseconds from its arrival at the router. */
export interface Outcome {
  readonly call: Call;
  /** Null: it was never sent before the replay ended, which is an error. */
  firstTokenMs: number | null;
  endMs: number | null;
  cachedTokens: number;
  replica: string | null;
  /** How often it was refused and came again. */
  refusals: number;
  readonly waits: Wait[];
}

export interface Replay {
  readonly outcomes: readonly Outcome[];
  /** The most requests that any replica ever had at once. */
  readonly inFlightMost: number;
  readonly lastMs: number;
}

export interface ReplayOptions {
  readonly cast: Cast;
  readonly replicas: readonly string[];
  readonly engine: EngineSpec;
  readonly config: PoolConfig;
  readonly router: Router;
}

/**
 * Plays a trace against one pool: a call arrives, the router sends or holds it, the engine serves it. Follow one with
 * `arrive` → `take` → `send` → `ended`.
 */
export function replay(options: ReplayOptions): Replay {
  const played = new Player(options);
  return played.run();
}

class Player {
  readonly #events = new Events();
  readonly #options: ReplayOptions;
  readonly #site: Site;
  readonly #outcomes: Outcome[];
  readonly #byId = new Map<string, Outcome>();
  /** Who waits in the router's queue, by id. */
  readonly #held = new Map<string, { readonly sinceMs: number; readonly predictedMs: number }>();
  #open: number;
  #inFlightMost = 0;
  #sweepAtMs = Infinity;

  constructor(options: ReplayOptions) {
    this.#options = options;
    const { cast, engine, replicas } = options;
    this.#site = new Site(replicas, engine, cast.sizes, this.#events);
    this.#outcomes = cast.calls.map((call) => {
      return {
        call,
        firstTokenMs: null,
        endMs: null,
        cachedTokens: 0,
        replica: null,
        refusals: 0,
        waits: [],
      };
    });
    this.#open = this.#outcomes.length;
  }

  run(): Replay {
    this.#beat();
    for (const outcome of this.#outcomes) {
      // Heartbeats come first: a router that knows no replica refuses.
      this.#events.after(2 * HOP_MS + outcome.call.atMs, () => this.#arrive(outcome));
    }
    while (this.#open > 0 && this.#events.step(Infinity));
    return { outcomes: this.#outcomes, inFlightMost: this.#inFlightMost, lastMs: this.#events.nowMs };
  }

  #arrive(outcome: Outcome): void {
    const id = `${outcome.call.index}/${outcome.refusals}`;
    this.#byId.set(id, outcome);
    this.#take({ id, answer: this.#options.router.acquire(outcome.call, id, this.#events.nowMs) });
    this.#planSweep();
  }

  #take({ id, answer }: Sent): void {
    const outcome = this.#byId.get(id)!;
    this.#noteWait(id, outcome, answer);
    if (answer.kind === "granted") this.#send(id, outcome, answer);
    if (answer.kind !== "refused") return;
    outcome.refusals += 1;
    this.#byId.delete(id);
    const backOffMs = Math.min(BACK_OFF_MAX_MS, BACK_OFF_MIN_MS * 2 ** outcome.refusals);
    this.#events.after(Math.max(backOffMs, answer.retryAfterMs), () => this.#arrive(outcome));
  }

  #noteWait(id: string, { waits }: Outcome, answer: Answer): void {
    const { nowMs } = this.#events;
    if (answer.kind === "waiting") {
      const { predictedWaitMs } = answer;
      if (predictedWaitMs !== undefined) this.#held.set(id, { sinceMs: nowMs, predictedMs: predictedWaitMs });
      return;
    }
    const held = this.#held.get(id);
    if (!held) return;
    this.#held.delete(id);
    const { predictedMs, sinceMs } = held;
    waits.push({ predictedMs, realMs: nowMs - sinceMs, isSent: answer.kind === "granted" });
  }

  #send(id: string, outcome: Outcome, { replica }: Extract<Answer, { kind: "granted" }>): void {
    const { router } = this.#options;
    outcome.replica = replica;
    this.#events.after(HOP_MS, () => {
      this.#site.call(replica, id, outcome.call, {
        firstToken: (cachedTokens) => {
          outcome.cachedTokens = cachedTokens;
          this.#told(() => router.started(id, this.#events.nowMs));
          outcome.firstTokenMs = this.#sinceArrival(outcome) + HOP_MS;
        },
        ended: () => {
          outcome.endMs = this.#sinceArrival(outcome) + HOP_MS;
          this.#open -= 1;
          this.#byId.delete(id);
          this.#told(() => router.release(id, "answered", this.#events.nowMs));
        },
        failed: (why) => {
          throw new Error(`nothing fails in a replay, but ${id} did: ${why}`);
        },
      });
      this.#keep(id, replica);
      this.#inFlightMost = Math.max(this.#inFlightMost, this.#site.inFlight(replica));
    });
  }

  #keep(id: string, replica: string): void {
    this.#events.after(PERMIT_EXTEND_MS, () => {
      if (!this.#byId.has(id)) return;
      this.#options.router.extend(id, replica, this.#events.nowMs);
      this.#keep(id, replica);
    });
  }

  #sinceArrival({ call }: Outcome): number {
    return this.#events.nowMs - call.atMs - 2 * HOP_MS;
  }

  /** News reaches the router a hop later; what it then sends goes out. */
  #told(news: () => readonly Sent[]): void {
    this.#events.after(HOP_MS, () => {
      for (const sent of news()) this.#take(sent);
      this.#planSweep();
    });
  }

  #beat(): void {
    const { config, router } = this.#options;
    const beat = this.#site.beat(config, MODEL);
    this.#told(() => router.heartbeat(beat, this.#events.nowMs));
    this.#events.after(BEAT_MS, () => this.#beat());
  }

  #planSweep(): void {
    const atMs = this.#options.router.nextDeadlineMs(this.#events.nowMs);
    if (atMs === null || atMs >= this.#sweepAtMs) return;
    this.#sweepAtMs = atMs;
    this.#events.after(Math.max(0, atMs - this.#events.nowMs), () => {
      // An earlier one took its place; as an object clears its timer.
      if (this.#sweepAtMs !== atMs) return;
      this.#sweepAtMs = Infinity;
      for (const sent of this.#options.router.sweep(this.#events.nowMs)) this.#take(sent);
      this.#planSweep();
    });
  }
}
