import type { TraceLine } from "../../sim/fleet/trace.ts";
import {
  averaged,
  type Contender,
  type EngineName,
  type Figures,
  measure,
  type Played,
  TENANTS,
} from "./measure.ts";

export interface Plan {
  readonly lines: readonly TraceLine[];
  readonly speeds: readonly number[];
  readonly contenders: readonly Contender[];
  readonly engines: readonly EngineName[];
  readonly seeds: number;
}

/** One cell of the tables: the mean over seeds, which move rings, tenants and errors of estimates. */
export interface Cell extends Figures {
  readonly contender: Contender;
  readonly engine: EngineName;
  readonly speed: number;
  /** Mean TTFT of the luckiest and the unluckiest seed. */
  readonly meanMsLow: number;
  readonly meanMsHigh: number;
}

/** The whole load curve: every contender at every speed, on every engine. */
export function curve(plan: Plan, onPlayed: (played: Played) => void): Cell[] {
  const { lines, seeds } = plan;
  const cells: Cell[] = [];
  for (const engine of plan.engines) {
    for (const speed of plan.speeds) {
      for (const contender of plan.contenders) {
        const runs = Array.from({ length: seeds }, (_, index) => {
          const cast = { seed: index + 1, speed, tenants: TENANTS, interactiveShare: null };
          return measure({ lines, contender, engine, cast }, onPlayed);
        });
        const means = runs.map(({ meanMs }) => meanMs);
        const spread = { meanMsLow: Math.min(...means), meanMsHigh: Math.max(...means) };
        cells.push({ contender, engine, speed, ...averaged(runs), ...spread });
      }
    }
  }
  return cells;
}

export function runsOf({ speeds, contenders, engines, seeds }: Plan): number {
  return speeds.length * contenders.length * engines.length * seeds;
}
