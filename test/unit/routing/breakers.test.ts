import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { BREAKER_DEFAULTS, breakerSettingsSchema } from "../../../src/catalogue.ts";
import { Breakers } from "../../../src/routing/breakers.ts";
import type { PermitOutcome } from "../../../src/routing/messages.ts";
import { BreakerOracle } from "../../support/breaker-oracle.ts";

const REPLICAS = ["a", "b", "c", "d"];
const START = 1_800_000_000_000;
/** Small enough that random sequences cross them often; the defaults are run through as well. */
const SMALL = breakerSettingsSchema.parse({
  errorRate: { samplesMin: 8, inARow: 3 },
  slow: { samplesMin: 20, above: 0.1, windowSeconds: 20, inARow: 3 },
  memory: { clearMs: 4_000 },
  queue: { above: 10, clearBelow: 7, clearMs: 3_000 },
});

const few = fc.oneof({ weight: 3, arbitrary: fc.constant(0) }, fc.integer({ min: 1, max: 6 }));
const many = fc.oneof(fc.constant(0), fc.integer({ min: 1, max: 60 }));
const sample = fc.option(
  fc.oneof(
    fc.record({ ok: few, failed: few, slow: few, overloaded: few }),
    fc.record({ ok: many, failed: many, slow: few, overloaded: few }),
  ),
);
const level = fc.constantFrom(0.5, 0.84375, 0.875, 0.9375, 0.96875, 1);
const signs = fc.option(
  fc.record({
    waiting: fc.constantFrom(0, 6, 9, 11, 800, 1_001),
    kvCacheUsage: level,
    gpuMemoryUsage: fc.option(level),
  }),
  { freq: 8 },
);
const replica = fc.constantFrom(...REPLICAS);
const id = fc.constantFrom("1", "2", "3", "4", "5", "6", "7");
const outcome = fc.constantFrom<PermitOutcome>("answered", "failed", "overloaded", "client_gone", "not_used");
const step = fc.oneof(
  { weight: 4, arbitrary: fc.record({ do: fc.constant("wait" as const), ms: waits() }) },
  { weight: 8, arbitrary: fc.record({ do: fc.constant("observe" as const), replica, sample, signs }) },
  {
    weight: 4,
    arbitrary: fc.record({ do: fc.constant("probe" as const), replica, outcome: fc.option(outcome) }),
  },
  { weight: 2, arbitrary: fc.record({ do: fc.constant("sent" as const), replica, id }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant("ended" as const), replica, id, outcome }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant("restarted" as const), replica }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant("elsewhere" as const), has: fc.boolean() }) },
  {
    weight: 1,
    arbitrary: fc.record({
      ...{ do: fc.constant("force" as const), replica: fc.option(replica) },
      state: fc.option(fc.constantFrom("open" as const, "closed" as const)),
      forMs: fc.option(fc.integer({ min: 1, max: 60_000 })),
    }),
  },
);
/** A second of silence for the clock's sake, and the same word of every replica but one, some times over. */
const spell = fc
  .record({ times: fc.integer({ min: 2, max: 6 }), replica, sample, signs, others: signs })
  .map(({ times, replica, others, ...said }): Step[] =>
    Array.from({ length: times }).flatMap((): Step[] => [
      { do: "wait", ms: 1_000 },
      ...REPLICAS.map((one): Step => {
        const mine = one === replica;
        return {
          do: "observe",
          replica: one,
          sample: mine ? said.sample : null,
          signs: mine ? said.signs : others,
        };
      }),
    ]),
  );
/** All the probes of an epoch, one after the other. */
const epoch = fc
  .record({ replica, outcomes: fc.array(outcome, { minLength: 5, maxLength: 5 }) })
  .map(({ replica, outcomes }): Step[] => outcomes.map((one) => ({ do: "probe", replica, outcome: one })));
const steps = fc
  .array(
    fc.oneof(
      { weight: 6, arbitrary: step.map((one) => [one]) },
      { weight: 1, arbitrary: spell },
      { weight: 1, arbitrary: epoch },
    ),
    {
      maxLength: 40,
      size: "max",
    },
  )
  .map((parts) => parts.flat());
type Step = typeof step extends fc.Arbitrary<infer S> ? S : never;

function waits() {
  return fc.oneof(
    fc.integer({ min: 0, max: 1_500 }),
    fc.constantFrom(1_000, 5_000, 10_000, 15_000, 15_001, 30_000),
    fc.integer({ min: 0, max: 400_000 }),
  );
}

/** The breakers and their specification, driven by the same steps. */
class Pair {
  now = START;
  probes = 0;
  readonly chance: number;
  readonly real: Breakers;
  readonly oracle: BreakerOracle;

  constructor(chance: number, settings = SMALL) {
    this.chance = chance;
    this.real = new Breakers(null, START, () => chance);
    this.real.configure(settings);
    this.oracle = new BreakerOracle(settings, chance, START);
  }

  take(one: Step): void {
    const { now, real, oracle } = this;
    const both = (act: (target: Breakers | BreakerOracle) => void) => [real, oracle].forEach(act);
    if (one.do === "wait") this.now += one.ms;
    else if (one.do === "observe") both((it) => it.observe(one.replica, one.sample, one.signs, now));
    else if (one.do === "probe") this.#probe(one.replica, one.outcome);
    else if (one.do === "sent") both((it) => it.sent(one.replica, one.id, now));
    else if (one.do === "ended") both((it) => it.ended(one.replica, one.id, one.outcome, now));
    else if (one.do === "restarted") both((it) => it.restarted(one.replica, now));
    else if (one.do === "elsewhere") both((it) => it.elsewhere(one.has, now));
    else this.#force(one.replica, one.state, one.forMs);
    oracle.time(this.now);
  }

  #probe(replica: string, outcome: PermitOutcome | null): void {
    if (!this.real.mayProbe(replica, this.now)) return;
    this.probes += 1;
    for (const it of [this.real, this.oracle]) {
      it.sent(replica, `p${this.probes}`, this.now);
      if (outcome !== null) it.ended(replica, `p${this.probes}`, outcome, this.now);
    }
  }

  #force(replica: string | null, state: "open" | "closed" | null, forMs: number | null): void {
    const expiresAtMs = forMs === null ? null : this.now + forMs;
    const said = { reason: "a test", by: "op", atMs: this.now };
    const override = state === null ? null : { state, expiresAtMs, ...said };
    this.real.force({ replica, override }, this.now);
    this.oracle.force(replica, state === null ? null : { state, expiresAtMs }, this.now);
  }

  compare(): void {
    const { now, real, oracle } = this;
    for (const [replica, target] of oracle.targets) {
      const shown = {
        state: real.state(replica, now),
        share: real.share(replica, now),
        mayProbe: real.mayProbe(replica, now),
      };
      const expected = {
        state: target.state,
        share: oracle.share(target, now),
        mayProbe: oracle.mayProbe(target),
      };
      expect({ replica, ...shown }).toEqual({ replica, ...expected });
    }
    expect(real.poolState(now)).toBe(oracle.pool.state);
    const last = real
      .view(now)
      .transitions.map(
        ({ replica, from, to, cause, atMs }) => `${replica ?? "pool"} ${from} ${to} ${cause} ${atMs}`,
      );
    expect(last).toEqual(oracle.transitions.slice(-20));
  }
}

describe("breakers, against a specification that keeps every event", { timeout: 120_000 }, () => {
  for (const [name, settings] of [
    ["small thresholds", SMALL],
    ["the defaults", BREAKER_DEFAULTS],
  ] as const) {
    it(`agree after every step: ${name}`, () => {
      fc.assert(
        fc.property(fc.double({ min: 0, max: 1, noNaN: true }), steps, (chance, steps) => {
          const pair = new Pair(chance, settings);
          for (const one of steps) {
            pair.take(one);
            pair.compare();
          }
        }),
        { numRuns: Number(process.env.BREAKER_RUNS ?? 60) },
      );
    });
  }

  it("reaches every transition by the steps above, so that agreeing means something", () => {
    const causes = new Set<string>();
    const run = fc.property(steps, (steps) => {
      const pair = new Pair(0.5);
      for (const one of steps) pair.take(one);
      for (const transition of pair.oracle.transitions) causes.add(transition.split(" ")[3]!);
    });
    fc.assert(run, { numRuns: 250, seed: 7 });
    expect([...causes].sort()).toEqual([
      ...["capacity_needed", "error_rate", "failures_in_a_row", "memory", "operator", "override_over"],
      ...[
        "pause_over",
        "probes_failed",
        "probes_inconclusive",
        "probes_passed",
        "queue",
        "restarted",
        "slow",
      ],
    ]);
  });
});
