import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { POOL_WAIT_MAX_MS } from "../../../src/bounds.ts";
import type { ReplicaReport } from "../../../src/contract/report.ts";
import { BANDS, type Grant, POLICIES, type Refused } from "../../../src/routing/messages.ts";
import { Pool, type Resolved } from "../../../src/routing/pool.ts";
import { ask, beat, chain, configOf, NOW, replica, work } from "./rig.ts";

const IDS = ["a", "b", "c"];
const CAP = 3;
const RUNS = 30;

const event = fc.oneof(
  {
    weight: 12,
    arbitrary: fc.record({
      kind: fc.constant("acquire" as const),
      who: fc.nat(60),
      waitMs: fc.constantFrom(0, 300, 5_000, 5_000, 60_000),
      exclude: fc.oneof(fc.constant([]), fc.subarray(IDS, { maxLength: 2 })),
      promptTokens: fc.oneof(fc.integer({ min: 1, max: 200 }), fc.integer({ min: 1, max: 30_000 })),
      text: fc.nat(4),
      tenant: fc.constantFrom("t", "u", "v"),
      band: fc.constantFrom(...BANDS),
      firstTokenInMs: fc.constantFrom(null, null, null, 50, 2_000),
    }),
  },
  { weight: 3, arbitrary: fc.record({ kind: fc.constant("started" as const), who: fc.nat(60) }) },
  {
    weight: 4,
    arbitrary: fc.record({
      kind: fc.constant("release" as const),
      who: fc.nat(60),
      outcome: fc.constantFrom("answered" as const, "failed" as const, "overloaded" as const),
    }),
  },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant("extend" as const), who: fc.nat(60) }) },
  { weight: 3, arbitrary: fc.record({ kind: fc.constant("pass" as const), ms: fc.nat(3_000) }) },
  {
    weight: 3,
    arbitrary: fc.record({
      kind: fc.constant("beat" as const),
      down: fc.oneof(fc.constant([]), fc.constant([]), fc.subarray(IDS, { maxLength: 3 })),
      failed: fc.constantFrom(0, 0, 0, 0, 0, 0, 6),
      waiting: fc.constantFrom(0, 0, 9),
      boot: fc.constantFrom("1", "1", "1", "2"),
    }),
  },
);
type Event = typeof event extends fc.Arbitrary<infer T> ? T : never;

/** Called a hundred times per event: what vitest offers is too slow for that. */
function must(holds: boolean, what: string): void {
  if (!holds) throw new Error(what);
}

/** Plays events and checks after each what must hold always. */
class World {
  readonly pool = new Pool([], 0);
  nowMs = NOW;
  readonly waiting = new Map<string, { untilMs: number; exclude: readonly string[] }>();
  readonly running = new Map<string, string>();
  held = 0;
  readonly config = configOf(CAP, { policy: "predicted-ttft" });
  down: readonly string[] = [];

  reports(more: Partial<ReplicaReport> = {}): ReplicaReport[] {
    return IDS.map((id) =>
      replica(id, { state: this.down.includes(id) ? "down" : "healthy", cacheTokens: 60_000, ...more }),
    );
  }

  play(each: Event): void {
    const { pool, nowMs } = this;
    if (each.kind === "acquire") this.#acquire(each);
    if (each.kind === "started") this.tell(pool.started(`${each.who}`, nowMs));
    if (each.kind === "release") {
      this.waiting.delete(`${each.who}`);
      this.running.delete(`${each.who}`);
      this.tell(pool.release(`${each.who}`, each.outcome, nowMs));
    }
    if (each.kind === "extend" && this.running.has(`${each.who}`)) {
      pool.extend(`${each.who}`, this.running.get(`${each.who}`)!, nowMs);
    }
    if (each.kind === "pass") this.pass(each.ms);
    if (each.kind === "beat") {
      this.down = each.down;
      const reports = this.reports({ waiting: each.waiting, bootId: each.boot });
      this.tell(pool.heartbeat(beat(reports, [{ failed: each.failed }], this.config), nowMs).resolved);
    }
    this.check();
  }

  /** Time goes on from deadline to deadline, as the object's timer has it. */
  pass(ms: number): void {
    const untilMs = this.nowMs + ms;
    for (;;) {
      const next = this.pool.nextDeadlineMs(this.nowMs);
      if (next === null || next > untilMs) break;
      this.nowMs = Math.max(next, this.nowMs + 1);
      this.tell(this.pool.sweep(this.nowMs));
      for (const [id, { untilMs: end }] of this.waiting) {
        must(end > this.nowMs, `${id} still waits`);
      }
      // Permits run out at once at their time; who has none any more does not hold one here either.
      for (const id of this.running.keys()) if (!this.#holds(id)) this.running.delete(id);
    }
    this.nowMs = Math.max(this.nowMs, untilMs);
  }

  tell(resolved: readonly Resolved[]): void {
    for (const { id, answer } of resolved) {
      const waiter = this.waiting.get(id);
      must(waiter !== undefined, `${id} is told, and does not wait`);
      this.waiting.delete(id);
      this.#told(id, answer, waiter!.exclude);
    }
  }

  check(): void {
    const view = this.pool.view(this.nowMs);
    must(view.waiting === this.waiting.size, "as many wait as were told to");
    for (const { id, permits } of view.replicas) {
      must(permits <= CAP, `${id} has ${permits} permits out (I4)`);
    }
    must(view.replicas.reduce((sum, { permits }) => sum + permits, 0) === view.inUse, "permits add up");
  }

  #acquire(each: Event & { kind: "acquire" }): void {
    const id = `${each.who}`;
    const { promptTokens, tenant, band, exclude, waitMs, firstTokenInMs } = each;
    const blocks = chain(each.text, Math.floor(promptTokens / 128));
    const firstTokenByMs = firstTokenInMs === null ? null : this.nowMs + firstTokenInMs;
    const more = work({ promptTokens, tenant, band, blocks, firstTokenByMs });
    const answer = this.pool.acquire(
      ask(id, { config: this.config, exclude, waitMs, work: more }),
      this.nowMs,
    );
    if (this.running.has(id)) expect(answer).toMatchObject({ replica: this.running.get(id) });
    else if (this.waiting.has(id)) expect(answer.kind).toBe("waiting");
    else if (answer.kind === "waiting") {
      this.held += 1;
      this.waiting.set(id, { untilMs: this.nowMs + Math.min(waitMs, POOL_WAIT_MAX_MS), exclude });
    } else this.#told(id, answer, exclude);
  }

  #told(id: string, answer: Grant | Refused, exclude: readonly string[]): void {
    if (answer.kind === "refused") {
      must(answer.retryAfterMs > 0, "a refusal says when to come back");
      return;
    }
    must(!exclude.includes(answer.replica), `${id} is sent to a replica that it excludes`);
    must(!this.down.includes(answer.replica), `${id} is sent to a replica that is down`);
    this.running.set(id, answer.replica);
  }

  #holds(id: string): boolean {
    return this.pool.holds(id);
  }
}

describe("a pool, whatever happens", () => {
  it.each(POLICIES)(
    "has no more permits out than the cap (I4), loses no waiter, tells each once and in time, sends nobody where it must not (%s)",
    (policy) => {
      let held = 0;
      fc.assert(
        fc.property(fc.array(event, { minLength: 40, maxLength: 150, size: "max" }), (events) => {
          const world = new World();
          Object.assign(world.config, { policy });
          world.tell(world.pool.heartbeat(beat(world.reports(), [], world.config), NOW).resolved);
          for (const each of events) world.play(each);
          world.pass(POOL_WAIT_MAX_MS + 1);
          expect([...world.waiting.keys()], "still waiting after the longest wait").toEqual([]);
          held += world.held;
        }),
        { numRuns: RUNS },
      );
      expect(held, "the events have requests wait").toBeGreaterThan(5 * RUNS);
    },
    30_000,
  );
});
