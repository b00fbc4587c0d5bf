import { castOf } from "../../sim/fleet/cast.ts";
import { ENGINES } from "../../sim/fleet/step-engine.ts";
import type { TraceLine } from "../../sim/fleet/trace.ts";
import { type Contender, figuresOf, type Played, play, sum, TARGET_MS, TENANTS } from "./measure.ts";

/**
 * Twice as much as the fleet can do. Three sessions in ten are interactive, with a target for the first token; the rest
 * is batch and has time. Classes are kept per session, so the cache of a conversation is used by its own class.
 */
export const INTERACTIVE_SHARE = 0.3;
/**
 * A prompt that is not cached takes this long to compute at most to be "feasible": what is left of the target covers the
 * rest of the step that runs when it arrives, 0.4 s on average where steps are full.
 */
export const FEASIBLE_PREFILL_MS = 1_500;

export interface Overload {
  readonly contender: Contender;
  readonly speed: number;
  readonly tokensPerSecond: number;
  /** Of the highest that the same contender reached on the curve. */
  readonly shareOfPeak: number;
  readonly interactive: number;
  /** Interactive requests whose first token came in time, of all of them and of those that could. */
  readonly attainment: number;
  readonly attainmentOfFeasible: number;
  readonly feasibleShare: number;
  readonly interactiveP99Ms: number;
  readonly batchMeanMs: number;
  readonly refusals: number;
}

/** The mean over seeds: one alone is off by up to 2 %. */
export function overload(
  lines: readonly TraceLine[],
  contender: Contender,
  speed: number,
  peakTokensPerSecond: number,
  seeds: number,
  onPlayed: (played: Played) => void,
): Overload {
  const runs = Array.from({ length: seeds }, (_, index) => {
    return run(lines, contender, speed, index + 1, onPlayed);
  });
  const mean = (of: (run: Run) => number) => sum(runs, of) / seeds;
  const tokensPerSecond = mean((run) => run.tokensPerSecond);
  return {
    contender,
    speed,
    tokensPerSecond,
    shareOfPeak: tokensPerSecond / peakTokensPerSecond,
    interactive: mean(({ interactive }) => interactive),
    attainment: mean(({ attainment }) => attainment),
    attainmentOfFeasible: mean(({ attainmentOfFeasible }) => attainmentOfFeasible),
    feasibleShare: mean(({ feasibleShare }) => feasibleShare),
    interactiveP99Ms: mean(({ interactiveP99Ms }) => interactiveP99Ms),
    batchMeanMs: mean(({ batchMeanMs }) => batchMeanMs),
    refusals: mean(({ refusals }) => refusals),
  };
}

type Run = Omit<Overload, "contender" | "speed" | "shareOfPeak">;

function run(
  lines: readonly TraceLine[],
  contender: Contender,
  speed: number,
  seed: number,
  onPlayed: (played: Played) => void,
): Run {
  const engine = ENGINES.h;
  const cast = castOf(lines, { seed, speed, tenants: TENANTS, interactiveShare: INTERACTIVE_SHARE });
  const { outcomes } = play(cast, contender, engine, seed);
  onPlayed({ contender, engine: "h", speed, outcomes });
  const { tokensPerSecond, refusals } = figuresOf(outcomes, cast, engine);
  const interactive = outcomes.filter(({ call }) => call.band === "interactive");
  const batch = outcomes.filter(({ call }) => call.band === "batch");
  const feasible = interactive.filter(
    ({ call }) => call.promptTokens * engine.msPerPrefillToken <= FEASIBLE_PREFILL_MS,
  );
  const met = (of: typeof outcomes) => sum(of, (one) => Number(one.firstTokenMs! <= TARGET_MS)) / of.length;
  const waits = interactive.map(({ firstTokenMs }) => firstTokenMs!).sort((one, other) => one - other);
  return {
    tokensPerSecond,
    interactive: interactive.length,
    attainment: met(interactive),
    attainmentOfFeasible: met(feasible),
    feasibleShare: feasible.length / interactive.length,
    interactiveP99Ms: waits[Math.floor(0.99 * waits.length)]!,
    batchMeanMs: sum(batch, ({ firstTokenMs }) => firstTokenMs!) / batch.length,
    refusals,
  };
}
