import type { BreakerSample } from "../breaker.ts";
import type { Heartbeat } from "../messages.ts";
import type { ReplicaSigns } from "./readings.ts";

/** What a batch says of one replica. */
export interface Observed {
  readonly replica: string;
  readonly sample: BreakerSample | null;
  readonly signs: ReplicaSigns | null;
}

/** What a gate's batch says of the replicas that it names. */
export function observedIn({ replicas, tallies }: Heartbeat): Observed[] {
  const counted = new Map(tallies.map((tally) => [tally.replica, tally]));
  return replicas.map((report) => ({
    replica: report.id,
    sample: counted.get(report.id) ?? null,
    signs: report.state === "healthy" ? report : null,
  }));
}

/** All of them as one. */
export function summed(samples: readonly BreakerSample[]): BreakerSample {
  const sum = (of: keyof BreakerSample) => samples.reduce((total, one) => total + one[of], 0);
  return { ok: sum("ok"), failed: sum("failed"), slow: sum("slow"), overloaded: sum("overloaded") };
}
