import type { BreakerSettings } from "../catalogue.ts";
import {
  BREAKER_HEALTHY_MS,
  BREAKER_PATIENCE_MS,
  BREAKER_PAUSE_MAX_MS,
  BREAKER_PAUSE_MS,
  BREAKER_PROBE_TTL_MS,
  BREAKER_PROBES_FAIL,
  BREAKER_PROBES_MAX,
  BREAKER_PROBES_PASS,
  BREAKER_RAMP_STEP_MS,
  BREAKER_SIGNS_MAX_AGE_MS,
} from "./breaker/bounds.ts";
import { isOverload, type Phase, type Probe } from "./breaker/phase.ts";
import { Readings, type ReplicaSigns } from "./breaker/readings.ts";
import type { Cause, Overload, Override, PermitOutcome, Transition } from "./messages.ts";

/** What gates counted since their last word. `slow` is beside the verdicts: at the age, not at the end. */
export interface BreakerSample {
  readonly ok: number;
  readonly failed: number;
  readonly slow: number;
  /** A full engine is backpressure and no error: it counts neither way. */
  readonly overloaded: number;
}

/** What of a breaker outlives its object. Counts do not: they are those of seconds. */
export interface SavedBreaker {
  readonly phase: Phase;
  readonly level: number;
  readonly override: Override | null;
}

/** Weight while it ramps up: a tenth, a quarter, a half, all (§4.2 of the limits). */
const RAMP = [0.1, 0.25, 0.5] as const;
/** After so many doublings the pause is at its longest. */
const LEVEL_MAX = Math.ceil(Math.log2(BREAKER_PAUSE_MAX_MS / BREAKER_PAUSE_MS));

/** The circuit breaker of one replica, or of a pool as a whole. Overloads are its owner's to decide: see Breakers. */
export class Breaker {
  readonly readings = new Readings();
  readonly #random: () => number;
  readonly #onTransition: (transition: Transition) => void;
  #phase: Phase;
  /** How often it opened, less one for each five minutes that it was healthy since: doubles the pause. */
  #level: number;
  #healthySinceMs: number;
  #override: Override | null;

  constructor(
    saved: SavedBreaker | null,
    nowMs: number,
    random: () => number,
    onTransition: (transition: Transition) => void,
  ) {
    this.#random = random;
    this.#onTransition = onTransition;
    this.#phase = saved?.phase ?? { tag: "closed", sinceMs: nowMs, rampFromMs: null };
    // Probes of the life before are nobody's now.
    if (this.#phase.tag === "half_open") this.#phase = halfOpen(this.#phase.why, nowMs);
    this.#level = saved?.level ?? 0;
    this.#override = saved?.override ?? null;
    this.#healthySinceMs = nowMs;
  }

  get phase(): Phase {
    return this.#phase;
  }

  get override(): Override | null {
    return this.#override;
  }

  saved(): SavedBreaker {
    return { phase: this.#phase, level: this.#level, override: this.#override };
  }

  observe(sample: BreakerSample | null, signs: ReplicaSigns | null, s: BreakerSettings, nowMs: number): void {
    this.readings.observe(sample, signs, s, nowMs);
    if (this.#phase.tag !== "half_open" || sample === null || sample.failed + sample.slow === 0) return;
    const live = this.#phase.live.map((probe) => ({ ...probe, troubled: true }));
    this.#phase = { ...this.#phase, live };
  }

  /** Brings it up to now: what time alone decides, and every trigger but overload. */
  settle(settings: BreakerSettings, nowMs: number): void {
    this.#endOverride(nowMs);
    if (this.#override !== null) return;
    if (this.#phase.tag === "closed") {
      this.#recover(nowMs);
      const cause = this.readings.trip(settings, nowMs);
      if (cause !== null) this.open(cause, nowMs);
    } else if (this.#phase.tag === "open") {
      const over = nowMs >= this.#phase.untilMs;
      const relieved = !isOverload(this.#phase.why) || this.overload(settings, nowMs) === null;
      if (over && relieved) this.#to(halfOpen(this.#phase.why, nowMs), "pause_over", nowMs);
    } else {
      this.#judge(nowMs);
    }
  }

  overload(settings: BreakerSettings, nowMs: number): Overload | null {
    return this.readings.overload(settings, nowMs);
  }

  /** For `min(5 s · 2^k, 300 s) · U[0.5, 1]`, so that breakers that opened together do not try again together. */
  open(cause: Cause, nowMs: number): void {
    // Probes that said nothing are no reason to wait longer than the last time.
    const inconclusive = cause === "probes_inconclusive";
    const k = inconclusive ? Math.max(0, this.#level - 1) : this.#level;
    const pauseMs = Math.min(BREAKER_PAUSE_MS * 2 ** k, BREAKER_PAUSE_MAX_MS) * (0.5 + this.#random() / 2);
    this.#level = inconclusive ? this.#level : Math.min(this.#level + 1, LEVEL_MAX);
    this.readings.forgetCounts();
    // An overload that probes could not yet end is still one.
    const why = this.#phase.tag === "half_open" && isOverload(this.#phase.why) ? this.#phase.why : cause;
    this.#to({ tag: "open", sinceMs: nowMs, untilMs: nowMs + pauseMs, why }, cause, nowMs);
  }

  close(cause: Cause, nowMs: number): void {
    this.readings.forgetCounts();
    this.#healthySinceMs = nowMs;
    // Where its capacity is needed there is no time for a ramp.
    const rampFromMs = cause === "capacity_needed" ? null : nowMs;
    this.#to({ tag: "closed", sinceMs: nowMs, rampFromMs }, cause, nowMs);
  }

  /** Another process answers under its name: what was counted of the one before says nothing, but it has to prove itself. */
  restarted(nowMs: number): void {
    this.readings.forgetAll();
    this.#level = 0;
    if (this.#override !== null || this.#phase.tag === "closed") return;
    if (this.#phase.tag === "open") this.#to(halfOpen(this.#phase.why, nowMs), "restarted", nowMs);
    else this.#phase = halfOpen(this.#phase.why, nowMs);
  }

  /** Null takes an override back: one that was open has to prove itself, one that was closed is watched again. */
  force(override: Override | null, nowMs: number): void {
    const before = this.#override;
    this.#override = override;
    if (override === null) {
      if (before !== null) this.#release(before, "operator", nowMs);
    } else if (override.state === "open" && this.#phase.tag !== "open") {
      this.#to({ tag: "open", sinceMs: nowMs, untilMs: nowMs, why: "operator" }, "operator", nowMs);
    } else if (override.state === "open") {
      this.#phase = { tag: "open", sinceMs: this.#phase.sinceMs, untilMs: nowMs, why: "operator" };
    } else if (this.#phase.tag !== "closed") {
      this.#to({ tag: "closed", sinceMs: nowMs, rampFromMs: null }, "operator", nowMs);
    }
  }

  /** Share of normal work, 0 … 1, before what an overload takes off it. */
  share(nowMs: number): number {
    if (this.#phase.tag !== "closed") return 0;
    const { rampFromMs } = this.#phase;
    if (rampFromMs === null || this.#override !== null) return 1;
    return RAMP[Math.max(0, Math.floor((nowMs - rampFromMs) / BREAKER_RAMP_STEP_MS))] ?? 1;
  }

  /** One probe at a time. */
  mayProbe(): boolean {
    const phase = this.#phase;
    return phase.tag === "half_open" && phase.live.length === 0 && phase.issued < BREAKER_PROBES_MAX;
  }

  /** A request went there; while it is half open and has probes left, it is one. */
  sent(id: string, nowMs: number): void {
    const phase = this.#phase;
    if (phase.tag !== "half_open" || phase.issued >= BREAKER_PROBES_MAX) return;
    if (phase.live.some((probe) => probe.id === id)) return;
    const probe: Probe = { id, untilMs: nowMs + BREAKER_PROBE_TTL_MS, troubled: false };
    this.#phase = { ...phase, issued: phase.issued + 1, live: [...phase.live, probe] };
  }

  /** How a probe went; of all others it takes no notice. A client that left and a full engine say nothing. */
  ended(id: string, outcome: PermitOutcome): void {
    const phase = this.#phase;
    if (phase.tag !== "half_open" || !phase.live.some((probe) => probe.id === id)) return;
    this.#phase = {
      ...phase,
      live: phase.live.filter((probe) => probe.id !== id),
      passed: phase.passed + Number(outcome === "answered"),
      failed: phase.failed + Number(outcome === "failed"),
    };
  }

  #judge(nowMs: number): void {
    this.#expireProbes(nowMs);
    const phase = this.#phase;
    if (phase.tag !== "half_open") return;
    const { passed, failed, issued, live, sinceMs } = phase;
    if (failed >= BREAKER_PROBES_FAIL) this.open("probes_failed", nowMs);
    else if (passed >= BREAKER_PROBES_PASS) this.close("probes_passed", nowMs);
    else if (issued >= BREAKER_PROBES_MAX && live.length === 0) {
      if (passed > failed) this.close("probes_passed", nowMs);
      else this.open("probes_inconclusive", nowMs);
    } else if (nowMs - sinceMs >= BREAKER_PATIENCE_MS && passed > 0 && failed === 0) {
      this.close("probes_passed", nowMs);
    }
  }

  /**
   * A stream may well outlive its time as a probe. It passed if gates spoke since and named nothing slow or failed: a
   * request without a first token is slow long before. Where gates are silent, nobody knows.
   */
  #expireProbes(nowMs: number): void {
    const phase = this.#phase;
    if (phase.tag !== "half_open" || phase.live.every((probe) => nowMs < probe.untilMs)) return;
    const over = phase.live.filter((probe) => nowMs >= probe.untilMs);
    const heard = nowMs - this.readings.heardAtMs <= BREAKER_SIGNS_MAX_AGE_MS;
    this.#phase = {
      ...phase,
      live: phase.live.filter((probe) => nowMs < probe.untilMs),
      passed: phase.passed + (heard ? over.filter(({ troubled }) => !troubled).length : 0),
      failed: phase.failed + over.filter(({ troubled }) => troubled).length,
    };
  }

  #recover(nowMs: number): void {
    while (this.#level > 0 && nowMs - this.#healthySinceMs >= BREAKER_HEALTHY_MS) {
      this.#level -= 1;
      this.#healthySinceMs += BREAKER_HEALTHY_MS;
    }
    if (this.#level === 0) this.#healthySinceMs = nowMs;
  }

  #endOverride(nowMs: number): void {
    const override = this.#override;
    if (override === null || override.expiresAtMs === null || nowMs < override.expiresAtMs) return;
    this.#override = null;
    this.#release(override, "override_over", nowMs);
  }

  #release(before: Override, cause: Cause, nowMs: number): void {
    if (before.state === "open") this.#to(halfOpen("operator", nowMs), cause, nowMs);
    else {
      this.#healthySinceMs = nowMs;
      this.#phase = { tag: "closed", sinceMs: nowMs, rampFromMs: null };
    }
  }

  #to(phase: Phase, cause: Cause, nowMs: number): void {
    const from = this.#phase.tag;
    if (from === phase.tag) throw new Error(`breaker: ${from} to itself for ${cause}`);
    if (from === "closed" && phase.tag === "half_open") throw new Error("breaker: closed to half open");
    this.#phase = phase;
    this.#onTransition({ atMs: nowMs, from, to: phase.tag, cause });
  }
}

function halfOpen(why: Cause, nowMs: number): Phase {
  return { tag: "half_open", sinceMs: nowMs, why, issued: 0, passed: 0, failed: 0, live: [] };
}
