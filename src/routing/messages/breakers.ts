/** What breakers say of themselves, and what operators say to them. */

export type BreakerState = "closed" | "open" | "half_open";

export type Overload = "memory" | "queue";

export const BREAKER_CAUSES = [
  // Triggers.
  "error_rate",
  "failures_in_a_row",
  "slow",
  "memory",
  "queue",
  // What became of the probes.
  "probes_failed",
  "probes_inconclusive",
  "probes_passed",
  "pause_over",
  // Too little capacity was left: what was out for overload serves again, at less weight.
  "capacity_needed",
  // The replica's process is another one.
  "restarted",
  "operator",
  "override_over",
] as const;
export type Cause = (typeof BREAKER_CAUSES)[number];

export interface Transition {
  readonly atMs: number;
  readonly from: BreakerState;
  readonly to: BreakerState;
  readonly cause: Cause;
}

export interface BreakerTransition extends Transition {
  /** Null: the pool as a whole. */
  readonly replica: string | null;
}

/** What an operator wants of a breaker, whatever its triggers say. */
export interface Override {
  readonly state: "open" | "closed";
  readonly reason: string;
  /** The first characters of the admin key's hash. */
  readonly by: string;
  readonly atMs: number;
  /** Null: until it is taken back. */
  readonly expiresAtMs: number | null;
}

export interface BreakerOverride extends Override {
  readonly replica: string | null;
}

/** What an operator orders. */
export interface BreakerOrder {
  /** Null: the pool as a whole. */
  readonly replica: string | null;
  /** Null: as the triggers say. */
  readonly override: Override | null;
}

/** The breakers of a pool and its replicas, as operators see them. */
export interface BreakersView {
  /** Of the pool as a whole. */
  readonly state: BreakerState;
  readonly overrides: readonly BreakerOverride[];
  /** The latest, oldest first. */
  readonly transitions: readonly BreakerTransition[];
  /** All that ever were, by kind. */
  readonly counted: readonly (Pick<Transition, "from" | "to" | "cause"> & { readonly times: number })[];
}
