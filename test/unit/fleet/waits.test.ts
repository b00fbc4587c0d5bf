import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { REPLICAS } from "../../../bench/routing/measure.ts";
import { waitPicture } from "../../../bench/routing/wait-picture.ts";
import { rightRangeMs, type WaitGroup, WaitRecord, waitFigures } from "../../../bench/routing/waits.ts";
import { castOf } from "../../../sim/fleet/cast.ts";
import { CoreRouter } from "../../../sim/fleet/core-router.ts";
import { replay, type Wait } from "../../../sim/fleet/replay.ts";
import { SAMPLE } from "../../../sim/fleet/scenarios/scenario.ts";
import { ENGINES } from "../../../sim/fleet/step-engine.ts";
import { readTrace } from "../../../sim/fleet/trace.ts";
import { WAIT_ERROR_EDGES_MS } from "../../../src/routing/pool/waits.ts";

const config = { catalogueVersion: 1, concurrencyPerReplica: 64, tokensPerSecond: null };

function groupOf(waits: readonly Wait[]): WaitGroup {
  return { isOverload: false, speed: 1, band: "default", requests: 10, held: 5, waits: [...waits] };
}

describe("waits of a replay", () => {
  const lines = readTrace(SAMPLE).slice(0, 400);
  const cast = castOf(lines, { seed: 1, speed: 6, tenants: 20, interactiveShare: 0.3 });
  const router = new CoreRouter(config, 20_000, 0);
  const { outcomes, lastMs } = replay({ cast, replicas: REPLICAS, engine: ENGINES.h, config, router });
  const record = new WaitRecord();
  record.add({ contender: "predicted-ttft", engine: "h", speed: 6, outcomes }, true);

  it("are those that the pool counts in its own histogram, band by band", () => {
    const counted = router.pool.view(lastMs).waitErrors!;
    const groups = record.groups();
    expect(groups.map(({ band }) => band)).toEqual(["interactive", "batch"]);
    for (const { band, waits } of groups) {
      const bins = counted[band].map(() => 0);
      for (const { predictedMs, realMs } of waits) {
        const bin = WAIT_ERROR_EDGES_MS.findIndex((edge) => realMs - predictedMs <= edge);
        bins[bin < 0 ? bins.length - 1 : bin]! += 1;
      }
      const total = counted[band].reduce((sum, count) => sum + count, 0);
      expect(waits.length).toBeGreaterThan(20);
      expect(waits).toHaveLength(total);
      // What is told is rounded to a millisecond, so one at an edge may change sides.
      for (const [at, count] of bins.entries()) expect(Math.abs(count - counted[band][at]!)).toBeLessThan(2);
    }
  });

  it("end with the request being sent, or after the longest wait there is", () => {
    for (const { waits } of record.groups()) {
      for (const { realMs, isSent } of waits) {
        expect(realMs).toBeGreaterThanOrEqual(0);
        expect(realMs).toBeLessThan(20_001);
        if (!isSent) expect(realMs).toBeCloseTo(20_000);
      }
    }
  });

  it("are drawn, each load and band in a panel", () => {
    const picture = waitPicture(record.groups());
    for (const title of ["6×, overload: interactive", "6×, overload: batch"])
      expect(picture).toContain(title);
    expect(picture).not.toContain("NaN");
  });
});

describe("figures of waits", () => {
  it("are real less predicted, with those not sent counted as wrong", () => {
    const waits = [
      { predictedMs: 1_000, realMs: 3_000, isSent: true },
      { predictedMs: 1_000, realMs: 1_300, isSent: true },
      { predictedMs: 9_000, realMs: 8_000, isSent: true },
      { predictedMs: 20_000, realMs: 20_000, isSent: false },
    ];
    expect(waitFigures(groupOf(waits))).toMatchObject({
      ...{ heldShare: 0.5, waits: 4, realP50Ms: 8_000, unsentShare: 0.25 },
      ...{ errorP10Ms: -1_000, errorP50Ms: 300, errorP90Ms: 2_000, rightShare: 0.5 },
    });
  });

  it("call a wait right exactly where the strip of the picture is", () => {
    const ms = fc.integer({ min: 0, max: 30_000 });
    fc.assert(
      fc.property(ms, ms, (predictedMs, realMs) => {
        const { rightShare } = waitFigures(groupOf([{ predictedMs, realMs, isSent: true }]));
        const { fromMs, toMs } = rightRangeMs(predictedMs);
        // A thousandth of a millisecond for what division rounds.
        const isIn = realMs >= fromMs - 1e-3 && realMs <= toMs + 1e-3;
        expect(rightShare).toBe(Number(isIn));
      }),
    );
  });
});
