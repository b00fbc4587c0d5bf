import type { Cell } from "./curve.ts";
import type { Contender } from "./measure.ts";
import type { Overload } from "./overload.ts";

/** What `predicted-ttft` has to do on the conversation trace, eight replicas, engine H. */
export const OURS: Contender = "predicted-ttft";

/** Mean TTFT as a share of the other's, at most, by speed. */
const RATIO_GOALS: readonly { readonly to: Contender; readonly most: Readonly<Record<string, number>> }[] = [
  { to: "plain chwbl", most: { "1": 0.58, "1.6": 0.43, "1.9": 0.34, "2.2": 0.2 } },
  { to: "plain cache-aware", most: { "1": 0.68, "1.6": 0.55, "1.9": 0.49, "2.2": 0.42 } },
];
const HITS_OF_POOLED_MIN = 0.9;
const SHARE_OF_PEAK_MIN = 0.95;
const ATTAINMENT_MIN = 0.97;

export interface Goal {
  readonly what: string;
  readonly goal: string;
  readonly measured: number;
  readonly met: boolean;
}

/** Goals of whatever was measured; a speed or policy that was not gives none. */
export function goalsOf(cells: readonly Cell[], overloaded: Overload | null): Goal[] {
  const at = (contender: Contender, speed: number) =>
    cells.find((cell) => cell.engine === "h" && cell.contender === contender && cell.speed === speed);
  const goals: Goal[] = [];
  for (const { to, most } of RATIO_GOALS) {
    for (const [speed, limit] of Object.entries(most)) {
      const [ours, other] = [at(OURS, Number(speed)), at(to, Number(speed))];
      if (!ours || !other) continue;
      const what = `mean TTFT ÷ ${to}, ${speed}×`;
      goals.push(atMost(what, limit, ours.meanMs / other.meanMs));
    }
  }
  for (const speed of Object.keys(RATIO_GOALS[0]!.most)) {
    const ours = at(OURS, Number(speed));
    if (ours)
      goals.push(atLeast(`hits ÷ hits of a pooled LRU, ${speed}×`, HITS_OF_POOLED_MIN, ours.hitsOfPooled));
  }
  if (overloaded !== null) {
    goals.push(atLeast("overload: throughput ÷ peak", SHARE_OF_PEAK_MIN, overloaded.shareOfPeak));
    const { attainmentOfFeasible } = overloaded;
    goals.push(
      atLeast("overload: feasible interactive requests in time", ATTAINMENT_MIN, attainmentOfFeasible),
    );
  }
  return goals;
}

function atMost(what: string, limit: number, measured: number): Goal {
  return { what, goal: `≤ ${limit}`, measured, met: rounded(measured) <= limit };
}

function atLeast(what: string, limit: number, measured: number): Goal {
  return { what, goal: `≥ ${limit}`, measured, met: rounded(measured) >= limit };
}

/** To the digits that goals are stated with. */
function rounded(value: number): number {
  return Math.round(value * 100) / 100;
}
