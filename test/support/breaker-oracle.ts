import type { BreakerSettings } from "../../src/catalogue.ts";
import type { PermitOutcome } from "../../src/routing/messages.ts";

import { type Event, inARow, isOver, sum } from "./breaker-oracle-windows.ts";

interface Probe {
  id: string;
  sentAtMs: number;
  /** How many events there were when it was sent. */
  from: number;
  result: "passed" | "failed" | "nothing" | null;
}

interface Target {
  events: Event[];
  /** Counts before this index were forgotten; the same for signs. */
  countsFrom: number;
  signsFrom: number;
  state: "closed" | "open" | "half_open";
  sinceMs: number;
  untilMs: number;
  why: string;
  rampFromMs: number | null;
  opened: number;
  healthySinceMs: number;
  probes: Probe[];
  held: { state: "open" | "closed"; expiresAtMs: number | null } | null;
}

/**
 * The breakers as a specification: every event is kept, and each question is answered from the whole list. Shares no
 * code with what it checks. Slow, and meant to be obvious.
 */
export class BreakerOracle {
  readonly targets = new Map<string, Target>();
  readonly pool: Target;
  readonly transitions: string[] = [];
  readonly settings: BreakerSettings;
  readonly chance: number;
  room: { has: boolean; atMs: number } = { has: false, atMs: -1e9 };

  constructor(settings: BreakerSettings, chance: number, nowMs: number) {
    this.settings = settings;
    this.chance = chance;
    this.pool = fresh(nowMs);
  }

  observe(
    id: string,
    sample: { ok: number; failed: number; slow: number } | null,
    signs: { waiting: number; kvCacheUsage: number; gpuMemoryUsage: number | null } | null,
    now: number,
  ): void {
    this.time(now);
    const target = this.of(id, now);
    const serves = target.state === "closed";
    tell(target, sample, signs && { used: signs.gpuMemoryUsage ?? signs.kvCacheUsage, ...signs }, now);
    const known = this.known(now).map((one) => lastSigns(one)!);
    const used = known.reduce((sum, one) => sum + one.used, 0) / known.length;
    const waiting = known.reduce((sum, one) => sum + one.waiting, 0);
    tell(this.pool, serves ? sample : null, known.length === 0 ? null : { used, waiting }, now);
    this.time(now);
  }

  restarted(id: string, now: number): void {
    this.time(now);
    const target = this.of(id, now);
    target.countsFrom = target.events.length;
    target.signsFrom = target.events.length;
    target.opened = 0;
    if (target.held === null && target.state === "open") this.go(id, target, "half_open", "restarted", now);
    else if (target.held === null && target.state === "half_open") tryAgain(target, now);
    this.time(now);
  }

  sent(id: string, request: string, now: number): void {
    this.time(now);
    for (const target of [this.targets.get(id), this.pool]) {
      if (target?.state !== "half_open" || target.probes.length >= 5) continue;
      if (target.probes.some((probe) => probe.id === request && probe.result === null)) continue;
      target.probes.push({ id: request, sentAtMs: now, from: target.events.length, result: null });
    }
  }

  ended(id: string, request: string, outcome: PermitOutcome, now: number): void {
    this.time(now);
    for (const target of [this.targets.get(id), this.pool]) {
      const probe = target?.probes.find((one) => one.id === request && one.result === null);
      if (target?.state !== "half_open" || probe === undefined) continue;
      probe.result = outcome === "answered" ? "passed" : outcome === "failed" ? "failed" : "nothing";
    }
    this.time(now);
  }

  force(id: string | null, held: Target["held"], now: number): void {
    this.time(now);
    const target = id === null ? this.pool : this.of(id, now);
    const before = target.held;
    target.held = held;
    if (held !== null) {
      if (target.state !== held.state) this.go(id, target, held.state, "operator", now);
      if (held.state === "closed") target.rampFromMs = null;
      else target.why = "operator";
    } else if (before?.state === "open") this.go(id, target, "half_open", "operator", now);
    else if (before !== null) released(target, now);
    this.time(now);
  }

  elsewhere(has: boolean, now: number): void {
    this.time(now);
    this.room = { has, atMs: now };
    this.time(now);
  }

  share(target: Target, now: number): number {
    if (target.state !== "closed") return 0;
    if (target.held !== null) return 1;
    const rampedMs = target.rampFromMs === null ? Infinity : now - target.rampFromMs;
    const ramp = rampedMs < 5_000 ? 0.1 : rampedMs < 10_000 ? 0.25 : rampedMs < 15_000 ? 0.5 : 1;
    return this.overload(target, now) === null ? ramp : ramp / 2;
  }

  mayProbe(target: Target): boolean {
    const idle = target.probes.every(({ result }) => result !== null);
    return target.state === "half_open" && idle && target.probes.length < 5;
  }

  overload(target: Target, now: number): "memory" | "queue" | null {
    const { memory, queue } = this.settings;
    const signs = target.events.slice(target.signsFrom).filter((event) => event.kind === "signs");
    const readings = (of: "used" | "waiting") => signs.map((one) => ({ atMs: one.atMs, value: one[of] }));
    if (memory !== null && isOver(readings("used"), memory, now)) return "memory";
    return queue !== null && isOver(readings("waiting"), queue, now) ? "queue" : null;
  }

  known(now: number): Target[] {
    return [...this.targets.values()].filter((target) => now - (lastSigns(target)?.atMs ?? -1e9) <= 15_000);
  }

  /** All that time decides. */
  time(now: number): void {
    for (const [id, target] of this.targets) {
      const served = target.state === "closed";
      this.timeOf(id, target, now);
      if (served && target.state === "open") this.pool.countsFrom = this.pool.events.length;
    }
    this.timeOf(null, this.pool, now);
    const free = (target: Target) => target.state === "closed" && target.held === null;
    const known = this.known(now);
    const able = known.filter((one) => one.state === "closed" && this.overload(one, now) === null);
    for (const [id, target] of this.targets) {
      const overload = this.overload(target, now);
      const may = able.length >= known.length / 2 && known.includes(target) && free(target);
      if (may && overload !== null) this.go(id, target, "open", overload, now);
    }
    for (const [id, target] of this.targets) {
      const out = known.filter((one) => one.state !== "closed").length;
      const isOut = target.state !== "closed" && target.held === null && isOverload(target.why);
      if (out > known.length / 2 && isOut) this.go(id, target, "closed", "capacity_needed", now);
    }
    const hasRoom = this.room.has && now - this.room.atMs <= 15_000;
    const overload = this.overload(this.pool, now);
    if (free(this.pool) && overload !== null && hasRoom) this.go(null, this.pool, "open", overload, now);
    const isOut = this.pool.state !== "closed" && this.pool.held === null && isOverload(this.pool.why);
    if (isOut && !hasRoom) this.go(null, this.pool, "closed", "capacity_needed", now);
  }

  private timeOf(id: string | null, target: Target, now: number): void {
    const { held } = target;
    if (held !== null && held.expiresAtMs !== null && now >= held.expiresAtMs) {
      target.held = null;
      if (held.state === "open") this.go(id, target, "half_open", "override_over", now);
      else released(target, now);
    }
    if (target.held !== null) return;
    if (target.state === "closed") {
      while (target.opened > 0 && now >= target.healthySinceMs + 300_000) {
        target.opened -= 1;
        target.healthySinceMs += 300_000;
      }
      if (target.opened === 0) target.healthySinceMs = now;
      const cause = this.trigger(target, now);
      if (cause !== null) this.go(id, target, "open", cause, now);
    } else if (target.state === "open") {
      const still = isOverload(target.why) && this.overload(target, now) !== null;
      if (now >= target.untilMs && !still) this.go(id, target, "half_open", "pause_over", now);
    } else this.verdict(id, target, now);
  }

  private verdict(id: string | null, target: Target, now: number): void {
    for (const probe of target.probes) {
      if (probe.result !== null || now < probe.sentAtMs + 30_000) continue;
      const since = target.events.slice(probe.from);
      const trouble = since.some((one) => one.kind === "sample" && one.failed + one.slow > 0);
      const told = target.events.at(-1);
      const heard = told !== undefined && now - told.atMs <= 15_000;
      probe.result = trouble ? "failed" : heard ? "passed" : "nothing";
    }
    const count = (result: Probe["result"]) => target.probes.filter((one) => one.result === result).length;
    const [passed, failed] = [count("passed"), count("failed")];
    const spent = target.probes.length === 5 && count(null) === 0;
    if (failed >= 2) this.go(id, target, "open", "probes_failed", now);
    else if (passed >= 4 || (spent && passed > failed)) this.go(id, target, "closed", "probes_passed", now);
    else if (spent) this.go(id, target, "open", "probes_inconclusive", now);
    else if (now - target.sinceMs >= 30_000 && passed > 0 && failed === 0) {
      this.go(id, target, "closed", "probes_passed", now);
    }
  }

  private trigger(target: Target, now: number): string | null {
    const { errorRate, slow } = this.settings;
    const since = target.events.slice(target.countsFrom);
    if (errorRate !== null) {
      const counts = sum(since, errorRate.windowSeconds, now);
      const all = counts.ok + counts.failed;
      if (all >= errorRate.samplesMin && counts.failed / all > errorRate.above) return "error_rate";
      const isRow = inARow(since, "failed") >= errorRate.inARow;
      if (all < errorRate.samplesMin && isRow) return "failures_in_a_row";
    }
    if (slow !== null) {
      const counts = sum(since, slow.windowSeconds, now);
      const all = Math.max(counts.ok + counts.failed, counts.slow);
      const many = counts.slow / all > slow.above && counts.slow >= slow.slowMin;
      if (all >= slow.samplesMin && many) return "slow";
      if (all < slow.samplesMin && inARow(since, "slow") >= slow.inARow) return "slow";
    }
    return null;
  }

  private go(id: string | null, target: Target, to: Target["state"], cause: string, now: number): void {
    this.transitions.push(`${id ?? "pool"} ${target.state} ${to} ${cause} ${now}`);
    if (to === "open" && cause !== "operator") {
      const power = cause === "probes_inconclusive" ? Math.max(0, target.opened - 1) : target.opened;
      const pauseMs = Math.min(5_000 * 2 ** power, 300_000) * (0.5 + this.chance / 2);
      if (cause !== "probes_inconclusive") target.opened = Math.min(6, target.opened + 1);
      target.untilMs = now + pauseMs;
      target.countsFrom = target.events.length;
      if (!(target.state === "half_open" && isOverload(target.why))) target.why = cause;
    }
    if (to === "closed") {
      target.rampFromMs = cause === "probes_passed" ? now : null;
      if (cause !== "operator") {
        target.countsFrom = target.events.length;
        target.healthySinceMs = now;
      }
    }
    target.state = to;
    target.sinceMs = now;
    target.probes = [];
  }

  private of(id: string, now: number): Target {
    const known = this.targets.get(id) ?? fresh(now);
    this.targets.set(id, known);
    return known;
  }
}

function fresh(nowMs: number): Target {
  return {
    ...{ events: [], countsFrom: 0, signsFrom: 0, state: "closed", sinceMs: nowMs, untilMs: 0, why: "" },
    ...{ rampFromMs: null, opened: 0, healthySinceMs: nowMs, probes: [], held: null },
  };
}

function tryAgain(target: Target, now: number): void {
  target.probes = [];
  target.sinceMs = now;
}

function released(target: Target, now: number): void {
  target.healthySinceMs = now;
  target.rampFromMs = null;
}

function isOverload(cause: string): boolean {
  return cause === "memory" || cause === "queue";
}

function tell(
  target: Target,
  sample: { ok: number; failed: number; slow: number } | null,
  signs: { used: number; waiting: number } | null,
  atMs: number,
): void {
  target.events.push({ kind: "told", atMs });
  if (sample !== null) target.events.push({ kind: "sample", atMs, ...sample });
  if (signs !== null) target.events.push({ kind: "signs", atMs, used: signs.used, waiting: signs.waiting });
}

function lastSigns(target: Target) {
  return target.events.filter((event) => event.kind === "signs").at(-1);
}
