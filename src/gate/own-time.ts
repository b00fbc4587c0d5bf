import type { ServerResponse } from "node:http";
import { GATE_TIME_HEADER } from "../contract/gate-time.ts";
import type { Clock } from "./clock.ts";

const arrivals = new WeakMap<ServerResponse, () => number>();

/** Starts the count for one request, at its arrival. */
export function countOwnTime(res: ServerResponse, clock: Clock): void {
  const arrivedAtMs = clock.monotonicMs();
  arrivals.set(res, () => clock.monotonicMs() - arrivedAtMs);
}

/** The header that tells what an answer's status took until now. For whatever writes one. */
export function ownTime(res: ServerResponse): Record<string, string> {
  const takenMs = arrivals.get(res)?.();
  return takenMs === undefined ? {} : { [GATE_TIME_HEADER]: takenMs.toFixed(1) };
}
