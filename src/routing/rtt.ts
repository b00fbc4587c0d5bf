import { RTT_HALF_LIFE_MS, RTT_PRIOR_SAMPLES, RTT_SAMPLE_MAX_MS, RTT_SAMPLES_MAX } from "../bounds.ts";
import { expectedRttMs, leastRttMs } from "./geo.ts";
import type { MeasuredRtt, RttReport } from "./messages.ts";

/**
 * Round trips between a location and a pool, measured from relayed requests. What is kept is the excess over what the
 * distance lets expect: a location hint covers half a continent, so its clients' distances differ, and a detour or a poor
 * peering is what they have in common.
 */

/**
 * The excess that one relayed call tells. `answeredMs`: from sending the call to its status; `gateMs`: the gate's own part
 * of it. Null where it tells nothing: longer than any round trip, or shorter than light needs (the client is not where its
 * address says, as behind a VPN, or the pool is not where its operator says; a fast way it is not).
 */
export function excessOf(distanceKm: number, answeredMs: number, gateMs: number): number | null {
  const rttMs = answeredMs - gateMs;
  if (!(rttMs >= leastRttMs(distanceKm) && rttMs <= RTT_SAMPLE_MAX_MS)) return null;
  return rttMs - expectedRttMs(distanceKm);
}

/** Adds an excess to what an isolate has to report: the least of an interval is nearest to the bare way. */
export function gathered(known: RttReport | undefined, pool: string, excessMs: number): RttReport {
  if (known === undefined) return { pool, excessMs, samples: 1 };
  return { pool, excessMs: Math.min(known.excessMs, excessMs), samples: known.samples + 1 };
}

/**
 * Steps of the estimate towards a lower and towards a higher report. It comes to rest where upward and downward pulls
 * are equal: at the low expectile τ = up ÷ (up + down) = 1/6 (Newey and Powell 1987, here by stochastic approximation).
 * Connections that had to be set up, queues and retransmissions only ever add time, so the low side is the way itself;
 * a plain minimum would keep one wrong low value for ever.
 */
const STEP_DOWN = 0.25;
const STEP_UP = 0.05;

/** A location's estimate after an isolate's report. */
export function folded(known: MeasuredRtt | undefined, report: RttReport, nowMs: number): MeasuredRtt {
  const { pool, samples } = report;
  if (known === undefined) {
    return { pool, excessMs: report.excessMs, samples: Math.min(samples, RTT_SAMPLES_MAX), atMs: nowMs };
  }
  const step = report.excessMs < known.excessMs ? STEP_DOWN : STEP_UP;
  const excessMs = known.excessMs + step * (report.excessMs - known.excessMs);
  return { pool, excessMs, samples: Math.min(trust(known, nowMs) + samples, RTT_SAMPLES_MAX), atMs: nowMs };
}

/** Samples, worth half as much after each `RTT_HALF_LIFE_MS` without a new one. */
function trust({ samples, atMs }: MeasuredRtt, nowMs: number): number {
  return samples * 2 ** (-Math.max(0, nowMs - atMs) / RTT_HALF_LIFE_MS);
}

/** A round trip as ranking uses it, and what it is made of. */
export interface Rtt {
  readonly expectedMs: number;
  /** Null: never measured. */
  readonly measuredMs: number | null;
  /** What the measurements count for by now. */
  readonly samples: number;
  readonly usedMs: number;
}

/**
 * Distance as the prior, measurements as they come:
 *   used = expected + n ÷ (n + prior) · excess, and never less than light needs
 * with n the samples and prior = `RTT_PRIOR_SAMPLES`: the posterior mean of a normal mean, the prior worth that many
 * observations.
 */
export function rttOf(distanceKm: number, measured: MeasuredRtt | undefined, nowMs: number): Rtt {
  const expectedMs = expectedRttMs(distanceKm);
  if (measured === undefined) return { expectedMs, measuredMs: null, samples: 0, usedMs: expectedMs };
  const samples = trust(measured, nowMs);
  const leastMs = leastRttMs(distanceKm);
  const weight = samples / (samples + RTT_PRIOR_SAMPLES);
  return {
    expectedMs,
    measuredMs: Math.max(leastMs, expectedMs + measured.excessMs),
    samples,
    usedMs: Math.max(leastMs, expectedMs + weight * measured.excessMs),
  };
}
