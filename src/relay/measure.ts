import type { LocationHint } from "../catalogue.ts";
import { GATE_TIME_HEADER } from "../contract/gate-time.ts";
import type { RttReport } from "../routing/messages.ts";
import type { Candidate } from "../routing/rank.ts";
import { excessOf, gathered } from "../routing/rtt.ts";

/** Round trips that this isolate measured and has not told its directories yet: one entry per location and pool. */
const gatheredHere = new Map<LocationHint, Map<string, RttReport>>();

/**
 * Learns from a relayed call how long its way is: from sending it to its status, less what the gate says that it took
 * itself. The gate answers with its status at the first token, so all of the engine's time is in the gate's.
 */
export function measure(
  here: LocationHint,
  { pool, distanceKm }: Candidate,
  response: Response,
  answeredMs: number,
): void {
  const gateMs = response.headers.get(GATE_TIME_HEADER);
  if (gateMs === null) return;
  const excessMs = excessOf(distanceKm, answeredMs, Number(gateMs));
  if (excessMs === null) return;
  const pools = gatheredHere.get(here) ?? new Map<string, RttReport>();
  pools.set(pool.id, gathered(pools.get(pool.id), pool.id, excessMs));
  gatheredHere.set(here, pools);
}

/** What is to be told to a location's directory. What is taken and then lost on the way is measured again. */
export function takeMeasured(here: LocationHint): RttReport[] {
  const reports = [...(gatheredHere.get(here)?.values() ?? [])];
  gatheredHere.delete(here);
  return reports;
}
