import { BREAKER_DEFAULTS, type BreakerSettings } from "../catalogue.ts";
import { BREAKER_SIGNS_MAX_AGE_MS } from "./breaker/bounds.ts";
import { type Observed, summed } from "./breaker/observed.ts";
import { isOverload } from "./breaker/phase.ts";
import type { ReplicaSigns } from "./breaker/readings.ts";
import { type SavedTransitions, Transitions } from "./breaker/transitions.ts";
import { Breaker, type BreakerSample, type SavedBreaker } from "./breaker.ts";
import type {
  BreakerOrder,
  BreakerState,
  BreakersView,
  Overload,
  PermitOutcome,
  Transition,
} from "./messages.ts";

export { observedIn } from "./breaker/observed.ts";
export type { ReplicaSigns } from "./breaker/readings.ts";
export type { BreakerSample } from "./breaker.ts";

/** What an overloaded replica that has to go on serving takes of its normal work. */
const SHED_SHARE = 0.5;

interface Saved {
  readonly version: 1;
  readonly pool: SavedBreaker;
  readonly replicas: readonly (readonly [string, SavedBreaker])[];
  readonly transitions: SavedTransitions;
}

/**
 * The breakers of one pool's replicas for one model, and of the pool as a whole. Errors and slowness open each by
 * itself; the pool's counts are the sums of replicas that serve, so that it opens where many fail a little and no one of
 * them enough. An overload does not cascade:
 *
 * - B1 a replica opens on overload only while at least half of the replicas serve and are not overloaded themselves;
 * - B2 while a replica is out for overload, no more than half of them are out for whatever reason: one comes back;
 * - B3 the pool opens on overload only while another pool is known to have room.
 *
 * Where it may not open, an overload takes half of the weight instead.
 */
export class Breakers {
  readonly #random: () => number;
  readonly #replicas = new Map<string, Breaker>();
  readonly #pool: Breaker;
  #settings: BreakerSettings = BREAKER_DEFAULTS;
  readonly #transitions: Transitions;
  #elsewhere = { room: false, atMs: -Infinity };
  #nowMs: number;
  #settledAtMs = -Infinity;
  /** Grows with everything that has to outlive the object. */
  revision = 0;

  constructor(saved: unknown | null, nowMs: number, random: () => number) {
    const known = isSaved(saved) ? saved : null;
    this.#random = random;
    this.#nowMs = nowMs;
    this.#transitions = new Transitions(known?.transitions ?? null);
    this.#pool = this.#breaker(null, known?.pool ?? null);
    for (const [replica, one] of known?.replicas ?? []) {
      this.#replicas.set(replica, this.#breaker(replica, one));
    }
  }

  /** Settings that are in force from now on; what was counted stays. */
  configure(settings: BreakerSettings): void {
    this.#settings = settings;
    this.#settledAtMs = -Infinity;
  }

  /** Whether some other pool could take this model's work, as far as the caller knows. Forgotten after 15 s. */
  elsewhere(hasRoom: boolean, nowMs: number): void {
    const now = this.#settled(nowMs);
    this.#elsewhere = { room: hasRoom, atMs: now };
    this.#settle(now);
  }

  /** `sample`: what gates counted since their last word. `signs`: how it is; null for one that is down or unknown. */
  observe(replica: string, sample: BreakerSample | null, signs: ReplicaSigns | null, nowMs: number): void {
    this.observeAll([{ replica, sample, signs }], nowMs);
  }

  /** One batch of a gate: the pool is judged by the whole of it, since nobody knows what came first inside. */
  observeAll(batch: readonly Observed[], nowMs: number): void {
    const now = this.#settled(nowMs);
    // A replica that is out is dealt with already: what still ends there says nothing of the others.
    const serving = batch.filter(({ replica }) => this.#of(replica).phase.tag === "closed");
    for (const { replica, sample, signs } of batch) {
      this.#of(replica).observe(sample, signs, this.#settings, now);
    }
    const samples = serving.flatMap(({ sample }) => sample ?? []);
    this.#pool.observe(
      samples.length === 0 ? null : summed(samples),
      this.#poolSigns(now),
      this.#settings,
      now,
    );
    this.#settle(now);
  }

  /** Another process answers under this name. */
  restarted(replica: string, nowMs: number): void {
    const now = this.#settled(nowMs);
    this.#of(replica).restarted(now);
    this.#settle(now);
  }

  forget(replica: string): void {
    // What an operator said of it stands, also when it comes back.
    if (this.#replicas.get(replica)?.override) return;
    if (this.#replicas.delete(replica)) this.#settledAtMs = -Infinity;
  }

  /** Share 0 … 1 of normal work that it may take now: 0 while open or half open, little while it ramps up. */
  share(replica: string, nowMs: number): number {
    const now = this.#settled(nowMs);
    const breaker = this.#replicas.get(replica);
    return breaker === undefined ? 1 : this.#shareOf(breaker, now);
  }

  mayProbe(replica: string, nowMs: number): boolean {
    this.#settled(nowMs);
    return this.#replicas.get(replica)?.mayProbe() ?? false;
  }

  sent(replica: string, id: string, nowMs: number): void {
    const now = this.#settled(nowMs);
    this.#replicas.get(replica)?.sent(id, now);
    this.#pool.sent(id, now);
  }

  ended(replica: string, id: string, outcome: PermitOutcome, nowMs: number): void {
    const now = this.#settled(nowMs);
    this.#replicas.get(replica)?.ended(id, outcome);
    this.#pool.ended(id, outcome);
    this.#settle(now);
  }

  state(replica: string, nowMs: number): BreakerState {
    this.#settled(nowMs);
    return this.#replicas.get(replica)?.phase.tag ?? "closed";
  }

  poolState(nowMs: number): BreakerState {
    this.#settled(nowMs);
    return this.#pool.phase.tag;
  }

  /** Share 0 … 1 of its normal work that the pool as a whole should be given. Half open: a little, as a test. */
  poolShare(nowMs: number): number {
    const now = this.#settled(nowMs);
    return this.#pool.phase.tag === "half_open" ? 0.1 : this.#shareOf(this.#pool, now);
  }

  /** An operator's word on one replica or on the pool. */
  force({ replica, override }: BreakerOrder, nowMs: number): void {
    const now = this.#settled(nowMs);
    const breaker = replica === null ? this.#pool : this.#of(replica);
    breaker.force(override, now);
    this.revision += 1;
    this.#settle(now);
  }

  view(nowMs: number): BreakersView {
    this.#settled(nowMs);
    const all = [[null, this.#pool] as const, ...this.#replicas];
    return {
      state: this.#pool.phase.tag,
      overrides: all.flatMap(([replica, { override }]) =>
        override === null ? [] : [{ replica, ...override }],
      ),
      transitions: this.#transitions.latest,
      counted: this.#transitions.counted,
    };
  }

  save(): unknown {
    return {
      version: 1,
      pool: this.#pool.saved(),
      replicas: [...this.#replicas].map(([id, breaker]) => [id, breaker.saved()]),
      transitions: this.#transitions.save(),
    } satisfies Saved;
  }

  #of(replica: string): Breaker {
    let breaker = this.#replicas.get(replica);
    if (breaker === undefined) {
      breaker = this.#breaker(replica, null);
      this.#replicas.set(replica, breaker);
    }
    return breaker;
  }

  #breaker(replica: string | null, saved: SavedBreaker | null): Breaker {
    const onTransition = (transition: Transition) => {
      this.#transitions.record({ replica, ...transition });
      this.revision += 1;
    };
    return new Breaker(saved, this.#nowMs, this.#random, onTransition);
  }

  /** What time has decided by now: before anything else happens. A clock that steps back stands still. */
  #settled(nowMs: number): number {
    this.#nowMs = Math.max(this.#nowMs, nowMs);
    if (this.#nowMs !== this.#settledAtMs) this.#settle(this.#nowMs);
    return this.#nowMs;
  }

  #settle(nowMs: number): void {
    this.#settledAtMs = nowMs;
    for (const breaker of this.#replicas.values()) {
      const { tag: before } = breaker.phase;
      breaker.settle(this.#settings, nowMs);
      const { tag: after } = breaker.phase;
      // Its own breaker has dealt with what it did to the pool's counts.
      if (before === "closed" && after === "open") this.#pool.readings.forgetCounts();
    }
    this.#pool.settle(this.#settings, nowMs);
    this.#ejectOverloaded(nowMs);
    this.#readmit(nowMs);
    const poolOverload = this.#openable(this.#pool, nowMs);
    if (poolOverload !== null && this.#roomElsewhere(nowMs)) this.#pool.open(poolOverload, nowMs);
    const { phase } = this.#pool;
    const outForOverload = phase.tag !== "closed" && isOverload(phase.why);
    if (outForOverload && !this.#roomElsewhere(nowMs)) this.#pool.close("capacity_needed", nowMs);
  }

  /** B1. Overloaded ones are not among those that could take over, so opening one changes nothing for the next. */
  #ejectOverloaded(nowMs: number): void {
    const known = this.#known(nowMs);
    const able = known.filter(
      (breaker) => breaker.phase.tag === "closed" && breaker.overload(this.#settings, nowMs) === null,
    );
    if (able.length * 2 < known.length) return;
    for (const breaker of known) {
      const overload = this.#openable(breaker, nowMs);
      if (overload !== null) breaker.open(overload, nowMs);
    }
  }

  /** B2. */
  #readmit(nowMs: number): void {
    const known = this.#known(nowMs);
    let out = known.filter(({ phase }) => phase.tag !== "closed").length;
    for (const breaker of this.#replicas.values()) {
      if (out * 2 <= known.length) return;
      const { phase, override } = breaker;
      if (phase.tag === "closed" || !isOverload(phase.why) || override !== null) continue;
      breaker.close("capacity_needed", nowMs);
      if (known.includes(breaker)) out -= 1;
    }
  }

  #openable(breaker: Breaker, nowMs: number): Overload | null {
    if (breaker.phase.tag !== "closed" || breaker.override !== null) return null;
    return breaker.overload(this.#settings, nowMs);
  }

  /** Replicas that gates spoke of lately: capacity is counted in these. */
  #known(nowMs: number): Breaker[] {
    return [...this.#replicas.values()].filter(
      ({ readings }) => nowMs - readings.signsAtMs <= BREAKER_SIGNS_MAX_AGE_MS,
    );
  }

  /** The last pool that could serve never opens on overload. */
  #roomElsewhere(nowMs: number): boolean {
    return this.#elsewhere.room && nowMs - this.#elsewhere.atMs <= BREAKER_SIGNS_MAX_AGE_MS;
  }

  #shareOf(breaker: Breaker, nowMs: number): number {
    const share = breaker.share(nowMs);
    if (share === 0 || breaker.override !== null) return share;
    return breaker.overload(this.#settings, nowMs) === null ? share : share * SHED_SHARE;
  }

  /** The pool as one: all who wait, and its memory on average. */
  #poolSigns(nowMs: number): ReplicaSigns | null {
    const all = this.#known(nowMs).flatMap(({ readings }) => readings.signs ?? []);
    if (all.length === 0) return null;
    const used = all.reduce((sum, signs) => sum + (signs.gpuMemoryUsage ?? signs.kvCacheUsage), 0);
    return {
      waiting: all.reduce((sum, signs) => sum + signs.waiting, 0),
      kvCacheUsage: used / all.length,
      gpuMemoryUsage: null,
    };
  }
}

function isSaved(saved: unknown): saved is Saved {
  return typeof saved === "object" && saved !== null && (saved as { version?: unknown }).version === 1;
}
