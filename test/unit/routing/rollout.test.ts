import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { OUTCOME_SLOT_MS, OUTCOME_WINDOW_MS, WAIT_BUCKETS } from "../../../src/bounds.ts";
import type { Model } from "../../../src/catalogue.ts";
import { waitBucket } from "../../../src/gate/tallies.ts";
import type { Outcomes } from "../../../src/routing/messages.ts";
import { bucketEndMs, NO_OUTCOMES, OutcomeWindow, sumOf } from "../../../src/routing/outcomes.ts";
import {
  chooseRevision,
  judge,
  pointOf,
  quantileBucket,
  revisionsOf,
  shadowsOf,
} from "../../../src/routing/rollout.ts";

const BASE: Model = { id: "m", kind: "generate", version: 1, createdAtMs: 0 };
const BOUNDS = { errorRate: 0.02, latencyRatio: 1.5 };

function revision(id: string, weight: number, more: Partial<Model> = {}): Model {
  return { ...BASE, id, revision: { of: "m", weight, shadow: 0, ...BOUNDS }, ...more };
}

function outcomes(ok: number, failed: number, waitsMs: readonly number[] = []): Outcomes {
  const waits = Array<number>(WAIT_BUCKETS).fill(0);
  for (const waitMs of waitsMs) waits[waitBucket(waitMs)]! += 1;
  return { ok, failed, waits };
}

describe("who gets a revision", () => {
  it("a raised weight moves sessions to the revision and none away from it", () => {
    const weights = fc.tuple(fc.integer({ min: 0, max: 1_000 }), fc.integer({ min: 0, max: 1_000 }));
    fc.assert(
      fc.property(weights, fc.string(), ([one, other], session) => {
        const [low, high] = [Math.min(one, other), Math.max(one, other)];
        const at = (weight: number) => chooseRevision(BASE, [revision("m:2", weight)], pointOf(session)).id;
        if (at(low) === "m:2") expect(at(high)).toBe("m:2");
        expect(at(0)).toBe("m");
        expect(at(1_000)).toBe("m:2");
      }),
    );
  });

  it("sessions spread by the weights, also those whose names differ in the last character only", () => {
    const revisions = revisionsOf(BASE, [revision("m:3", 250), revision("m:2", 100), BASE]);
    const got = { m: 0, "m:2": 0, "m:3": 0 };
    for (let session = 0; session < 20_000; session++) {
      got[chooseRevision(BASE, revisions, pointOf(`tenant/session-${session}`)).id as keyof typeof got] += 1;
    }
    expect(got["m:2"] / 20_000).toBeCloseTo(0.1, 1);
    expect(got["m:3"] / 20_000).toBeCloseTo(0.25, 1);
  });

  it("one that is held gets nothing, no copies either", () => {
    const held = { atMs: 0, why: "errors", detail: "" } as const;
    expect(revisionsOf(BASE, [revision("m:2", 1_000, { held })])).toEqual([]);
    const shadow = revision("m:2", 0);
    const copied = { ...shadow, revision: { ...shadow.revision!, shadow: 10 } };
    expect(shadowsOf([copied], 9)).toEqual([copied]);
    expect(shadowsOf([copied], 10)).toEqual([]);
  });
});

describe("when it is held", () => {
  const counts = fc.record({ ok: fc.nat(5_000), failed: fc.nat(5_000) });

  it("never while its error rate is within the bound", () => {
    fc.assert(
      fc.property(counts, counts, (base, canary) => {
        const rate = ({ ok, failed }: { ok: number; failed: number }) => failed / Math.max(1, ok + failed);
        fc.pre(rate(canary) <= rate(base) + BOUNDS.errorRate);
        expect(
          judge(outcomes(base.ok, base.failed), outcomes(canary.ok, canary.failed), BOUNDS).kind,
        ).not.toBe("worse");
      }),
      { numRuns: 2_000 },
    );
  });

  it("more of the same evidence never clears it", () => {
    fc.assert(
      fc.property(counts, counts, (base, canary) => {
        const times = (k: number) =>
          judge(outcomes(base.ok * k, base.failed * k), outcomes(canary.ok * k, canary.failed * k), BOUNDS)
            .kind;
        if (times(1) === "worse") expect(times(3)).toBe("worse");
      }),
    );
  });

  it("when all of five fail, but not when two of twenty do", () => {
    expect(judge(outcomes(500, 0), outcomes(0, 5), BOUNDS)).toMatchObject({ kind: "worse", why: "errors" });
    expect(judge(outcomes(500, 0), outcomes(18, 2), BOUNDS).kind).toBe("fine");
    expect(judge(outcomes(500, 0), outcomes(2, 3), BOUNDS).kind).toBe("fine");
    expect(judge(outcomes(500, 0), outcomes(0, 4), BOUNDS).kind).toBe("too_few");
    expect(judge(outcomes(4, 0), outcomes(0, 500), BOUNDS).kind).toBe("too_few");
  });

  const spread = (from: number, count: number) => Array.from({ length: count }, (_, nth) => from + nth);

  it("when its first tokens come much later than the baseline's, but not when somewhat later", () => {
    const base = outcomes(400, 0, spread(100, 400));
    const slower = (factor: number) =>
      outcomes(
        200,
        0,
        spread(100, 200).map((ms) => ms * factor),
      );
    expect(judge(base, slower(1.4), BOUNDS).kind).toBe("fine");
    expect(judge(base, slower(5), BOUNDS)).toMatchObject({ kind: "worse", why: "latency" });
    expect(judge(base, outcomes(99, 0, spread(10_000, 99)), BOUNDS).kind).toBe("fine");
  });

  it("equal distributions are hardly ever told apart: 1 in 1,000 by chance", () => {
    let held = 0;
    let seed = 7;
    const random = () => {
      seed = (Math.imul(seed, 1_664_525) + 1_013_904_223) >>> 0;
      return seed / 2 ** 32;
    };
    for (let trial = 0; trial < 500; trial++) {
      const draw = (n: number) => {
        const failed = Array.from({ length: n }, random).filter((u) => u < 0.05).length;
        return outcomes(
          n - failed,
          failed,
          Array.from({ length: n }, () => 100 * Math.exp(random())),
        );
      };
      if (judge(draw(400), draw(150), BOUNDS).kind === "worse") held += 1;
    }
    expect(held).toBeLessThanOrEqual(2);
  });
});

describe("outcomes", () => {
  it("a time lies in the bucket between two ends", () => {
    fc.assert(
      fc.property(fc.double({ min: 0, max: 200_000, noNaN: true }), (waitMs) => {
        const bucket = waitBucket(waitMs);
        expect(waitMs).toBeLessThanOrEqual(bucketEndMs(bucket) * (1 + 1e-9));
        if (bucket > 0) expect(waitMs).toBeGreaterThan(bucketEndMs(bucket - 1) * (1 - 1e-9));
      }),
    );
    expect(quantileBucket(outcomes(0, 0, [10, 20, 40, 80]), 0.5)).toBe(waitBucket(20));
  });

  it("a batch that a gate sends again counts once", () => {
    const window = new OutcomeWindow();
    const tally = { replica: "r", model: "m", ok: 2, failed: 1, slow: 0, overloaded: 9, tokens: 5 };
    const beat = (gate: string, sequence: number) => ({ gate, sequence, tallies: [{ ...tally, waits: [] }] });
    for (const one of [beat("a", 1), beat("a", 1), beat("b", 1), beat("a", 2)]) window.hear(one, 0);
    expect(window.since(0, 0)).toMatchObject({ ok: 6, failed: 3 });
  });

  it("a window forgets after its length, and counts whole slots", () => {
    const window = new OutcomeWindow();
    const slots = OUTCOME_WINDOW_MS / OUTCOME_SLOT_MS;
    for (let slot = 0; slot < 2 * slots; slot++) window.add(outcomes(1, 0), slot * OUTCOME_SLOT_MS);
    const nowMs = (2 * slots - 1) * OUTCOME_SLOT_MS;
    expect(window.since(0, nowMs).ok).toBe(slots);
    expect(window.since(nowMs - OUTCOME_SLOT_MS, nowMs).ok).toBe(2);
    expect(window.since(nowMs - 1, nowMs).ok).toBe(2);
    expect(window.since(nowMs, nowMs).ok).toBe(1);
    window.add(outcomes(0, 1), 0);
    expect(window.since(nowMs, nowMs)).toMatchObject({ ok: 1, failed: 1 });
    expect(window.since(0, nowMs + OUTCOME_WINDOW_MS).ok).toBe(0);
    expect(sumOf([NO_OUTCOMES, NO_OUTCOMES]).ok).toBe(0);
  });
});
