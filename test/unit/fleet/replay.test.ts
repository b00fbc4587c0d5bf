import { describe, expect, it } from "vitest";
import { type Contender, measure, play, REPLICAS } from "../../../bench/routing/measure.ts";
import { castOf } from "../../../sim/fleet/cast.ts";
import { pooledHitTokens } from "../../../sim/fleet/kv-cache.ts";
import { SAMPLE } from "../../../sim/fleet/scenarios/scenario.ts";
import { ENGINES } from "../../../sim/fleet/step-engine.ts";
import { readTrace } from "../../../sim/fleet/trace.ts";

const lines = readTrace(SAMPLE);
const optionsAt = (speed: number, seed = 1) => ({ seed, speed, tenants: 20, interactiveShare: null });
const meanMs = (contender: Contender, seed = 1) =>
  measure({ lines, contender, engine: "h", cast: optionsAt(1.6, seed) }).meanMs;

describe("a replay of the sample", { timeout: 60_000 }, () => {
  it.each<Contender>(["predicted-ttft", "plain chwbl", "plain random"])(
    "conserves requests under %s: each starts once, ends once, after it started",
    (contender) => {
      const cast = castOf(lines.slice(0, 600), optionsAt(3));
      const { outcomes, inFlightMost } = play(cast, contender, ENGINES.gpu, 1);
      expect(outcomes).toHaveLength(600);
      for (const { firstTokenMs, endMs, replica, call, cachedTokens } of outcomes) {
        expect(firstTokenMs).toBeGreaterThan(0);
        expect(endMs).toBeGreaterThanOrEqual(firstTokenMs!);
        expect(REPLICAS).toContain(replica);
        expect(cachedTokens).toBeLessThan(call.promptTokens);
      }
      if (contender === "predicted-ttft") expect(inFlightMost).toBeLessThanOrEqual(64);
    },
  );

  it("finds predicted-ttft to take at most two thirds of chwbl's time and half of random's, at 1.6×", () => {
    const ours = meanMs("predicted-ttft");
    expect(ours).toBeLessThan(0.67 * meanMs("plain chwbl"));
    expect(ours).toBeLessThan(0.5 * meanMs("plain random"));
  });

  it("is the same for the same seed, and another for another", () => {
    const few = lines.slice(0, 300);
    const measured = (seed: number) =>
      measure({ lines: few, contender: "predicted-ttft", engine: "h", cast: optionsAt(2, seed) });
    expect(measured(1)).toEqual(measured(1));
    expect(measured(2).meanMs).not.toBe(measured(1).meanMs);
  });

  it("hits less in a smaller pooled cache than in a larger one", () => {
    const { calls, sizes } = castOf(lines, optionsAt(1));
    const [small, large] = [200_000, Infinity].map((tokens) => pooledHitTokens(calls, sizes, tokens));
    expect(small).toBeGreaterThan(0);
    expect(small).toBeLessThan(large!);
  });
});
