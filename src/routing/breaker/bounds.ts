import { DAY_MS } from "../../bounds.ts";

/** Limits that concern breakers alone; sources in docs/breakers.md. */

/** The first pause of an opened breaker; each one that follows it is twice as long (limits of the breaker, §4.2). */
export const BREAKER_PAUSE_MS = 5_000;
export const BREAKER_PAUSE_MAX_MS = 300_000;
/** So long closed without a break, and the next pause is half as long again. */
export const BREAKER_HEALTHY_MS = 5 * 60_000;
/** Requests that may try a half-open replica in one epoch, one after the other. */
export const BREAKER_PROBES_MAX = 5;
export const BREAKER_PROBES_PASS = 4;
export const BREAKER_PROBES_FAIL = 2;
/** A probe that is still running after this is judged by what the gates told meanwhile. */
export const BREAKER_PROBE_TTL_MS = 30_000;
/** Half open for so long, and one success without a failure is enough: more may not come where traffic is low. */
export const BREAKER_PATIENCE_MS = 30_000;
/** How long each step of the return to full weight takes. */
export const BREAKER_RAMP_STEP_MS = 5_000;
/** What gates said longer ago than this says nothing of now. */
export const BREAKER_SIGNS_MAX_AGE_MS = 15_000;
/** Longest window of a trigger, in seconds: counts that are older are dropped. */
export const BREAKER_WINDOW_MAX_S = 60;
/** Transitions that a pool keeps for its operators, and those that travel with its state. */
export const BREAKER_TRANSITIONS_KEPT = 50;
export const BREAKER_TRANSITIONS_SHOWN = 20;
/** Longest time that an operator may hold a breaker; without one it is held until taken back. */
export const BREAKER_OVERRIDE_MAX_MS = 30 * DAY_MS;

function holds(relation: boolean, why: string): void {
  if (!relation) throw new Error(`breaker bounds: ${why}`);
}

holds(BREAKER_PROBES_FAIL + BREAKER_PROBES_PASS > BREAKER_PROBES_MAX, "probes decide one way, not both");
holds(BREAKER_PAUSE_MS < BREAKER_PAUSE_MAX_MS, "the pause grows");
holds(BREAKER_TRANSITIONS_SHOWN <= BREAKER_TRANSITIONS_KEPT, "what is shown is kept");
