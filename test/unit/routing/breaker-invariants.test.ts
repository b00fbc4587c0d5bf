import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { BREAKER_DEFAULTS, type BreakerSettings } from "../../../src/catalogue.ts";
import { Breakers } from "../../../src/routing/breakers.ts";

const START = 1_800_000_000_000;
const CALM = { waiting: 0, kvCacheUsage: 0.5, gpuMemoryUsage: null };
const NOTHING = { ok: 0, failed: 0, slow: 0, overloaded: 0 };

/** Repeatable chance (mulberry32). */
function dice(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

function breakersOf(settings: BreakerSettings = BREAKER_DEFAULTS, random = () => 0.5): Breakers {
  const breakers = new Breakers(null, START, random);
  breakers.configure(settings);
  return breakers;
}

/** One second: each replica reports, once. */
type Second = { failing: boolean; used: number; waiting: number; requests: number }[];
const second = (replicas: number) =>
  fc.array(
    fc.record({
      failing: fc.boolean(),
      used: fc.constantFrom(0.5, 0.9, 0.97),
      waiting: fc.constantFrom(0, 800, 1_200),
      requests: fc.integer({ min: 0, max: 8 }),
    }),
    { minLength: replicas, maxLength: replicas },
  );
/** Weather that holds for a while, as it does. */
const weather = (replicas: number) =>
  fc
    .array(fc.record({ second: second(replicas), times: fc.integer({ min: 1, max: 8 }) }), { maxLength: 12 })
    .map((spells) => spells.flatMap(({ second, times }) => Array.from({ length: times }, () => second)));

function report(breakers: Breakers, now: number, one: Second): void {
  one.forEach(({ failing, used, waiting, requests }, index) => {
    const counts = failing ? { failed: requests } : { ok: requests };
    const signs = { waiting, kvCacheUsage: used, gpuMemoryUsage: null };
    breakers.observe(`r${index}`, { ...NOTHING, ...counts }, signs, now);
  });
}

describe("breakers", () => {
  it("go from closed to half open never, and let five probes through in one epoch, one at a time", () => {
    const probing = fc.array(fc.constantFrom("answered", "failed", "overloaded", "client_gone", null), {
      maxLength: 10,
    });
    fc.assert(
      fc.property(weather(2), probing, (seconds, outcomes) => {
        const breakers = breakersOf();
        let now = START;
        let sent = 0;
        const inEpoch = new Map<string, number>();
        for (const one of seconds) {
          now += 1_000;
          report(breakers, now, one);
          for (const replica of ["r0", "r1"]) {
            if (breakers.state(replica, now) !== "half_open") inEpoch.delete(replica);
            for (const outcome of outcomes) {
              if (!breakers.mayProbe(replica, now)) break;
              sent += 1;
              inEpoch.set(replica, (inEpoch.get(replica) ?? 0) + 1);
              expect(inEpoch.get(replica)).toBeLessThanOrEqual(5);
              breakers.sent(replica, `p${sent}`, now);
              expect(breakers.mayProbe(replica, now)).toBe(false);
              if (outcome === null) break;
              breakers.ended(replica, `p${sent}`, outcome, now);
              if (breakers.state(replica, now) !== "half_open") inEpoch.delete(replica);
            }
          }
        }
        const kinds = breakers.view(now).counted.map(({ from, to }) => `${from} ${to}`);
        expect(kinds).not.toContain("closed half_open");
      }),
      { numRuns: 300 },
    );
  });

  it("take no more than half of the replicas out while one is out for overload (B1, B2)", () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 6 }).chain(weather), (seconds) => {
        const breakers = breakersOf();
        let now = START;
        for (const one of seconds) {
          now += 1_000;
          report(breakers, now, one);
          const names = one.map((_, index) => `r${index}`);
          const why = (replica: string) =>
            breakers
              .view(now)
              .transitions.filter((last) => last.replica === replica && last.to === "open")
              .at(-1)?.cause ?? "";
          const out = names.filter((replica) => breakers.state(replica, now) !== "closed");
          const forOverload = out.filter((replica) => ["memory", "queue"].includes(why(replica)));
          if (forOverload.length > 0) expect(out.length).toBeLessThanOrEqual(names.length / 2);
        }
      }),
      { numRuns: 300 },
    );
  });

  it("never open the pool on overload while no other pool has room (B3): it sheds weight instead", () => {
    const breakers = breakersOf();
    const full = [{ failing: false, used: 0.99, waiting: 5_000, requests: 5 }];
    for (let at = 1; at <= 60; at++) report(breakers, START + at * 1_000, full);
    const now = START + 60_000;
    expect(breakers.view(now).counted).toEqual([]);
    expect([breakers.share("r0", now), breakers.poolShare(now)]).toEqual([0.5, 0.5]);
    breakers.elsewhere(true, now);
    expect(breakers.poolState(now)).toBe("open");
    // The other pool is full, or gone: this one is the last again.
    breakers.elsewhere(false, now + 1_000);
    expect([breakers.poolState(now + 1_000), breakers.poolShare(now + 1_000)]).toEqual(["closed", 0.5]);
  });

  it("open within two seconds of the threshold, at any traffic", () => {
    fc.assert(
      fc.property(fc.integer({ min: 3, max: 500 }), fc.integer(), (perSecond, seed) => {
        const breakers = breakersOf();
        const chance = dice(seed);
        let now = START;
        let crossedAtMs: number | null = null;
        const counts: { failed: number; ok: number }[] = [];
        // Healthy for a while, and then nine of ten fail.
        for (let at = 0; at < 40 && breakers.state("r", now) === "closed"; at++) {
          now += 1_000;
          const failed = Array.from({ length: perSecond }).filter(() => at >= 15 && chance() < 0.9).length;
          counts.push({ failed, ok: perSecond - failed });
          const window = counts.slice(-10);
          const failures = window.reduce((sum, one) => sum + one.failed, 0);
          const all = window.reduce((sum, one) => sum + one.failed + one.ok, 0);
          if (all >= 20 && failures * 2 > all) crossedAtMs ??= now;
          breakers.observe("r", { ...NOTHING, failed, ok: perSecond - failed }, CALM, now);
        }
        expect(breakers.state("r", now)).toBe("open");
        expect(now - (crossedAtMs ?? now)).toBeLessThanOrEqual(2_000);
      }),
      { numRuns: 100 },
    );
  });

  it("change at most once in an hour at 45 % errors, at 300 requests/s and more", () => {
    for (const perSecond of [300, 600]) {
      for (const seed of [1, 2, 3]) {
        expect({ perSecond, seed, changes: hourAt(0.45, perSecond, seed) }).toMatchObject({
          changes: expect.toSatisfy((changes: number) => changes <= 1),
        });
      }
    }
  });
});

/** Transitions in one simulated hour of independent failures. */
function hourAt(failing: number, perSecond: number, seed: number): number {
  const breakers = breakersOf(BREAKER_DEFAULTS, dice(seed + 1));
  const chance = dice(seed);
  for (let at = 1; at <= 3_600; at++) {
    let failed = 0;
    for (let request = 0; request < perSecond; request++) failed += Number(chance() < failing);
    breakers.observe("r", { ...NOTHING, failed, ok: perSecond - failed }, CALM, START + at * 1_000);
  }
  const { counted } = breakers.view(START + 3_600_000);
  return counted.reduce((sum, { times }) => sum + times, 0);
}
