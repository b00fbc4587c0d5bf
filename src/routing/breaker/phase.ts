import type { Cause, Overload } from "../messages.ts";

/**
 *            a trigger, an operator              the pause is over (and the overload)
 *   closed ──────────────────────────▶ open ──────────────────────────────────────▶ half open
 *      ▲                                ▲                                              │ │
 *      │                                └──────────────── probes fail ────────────────┘ │
 *      └──────────── probes pass; the weight ramps up ──────────────────────────────────┘
 *
 * There is no way from closed to half open.
 */
export type Phase =
  | {
      readonly tag: "closed";
      readonly sinceMs: number;
      /** When the return to full weight began; null: it never left. */
      readonly rampFromMs: number | null;
    }
  | { readonly tag: "open"; readonly sinceMs: number; readonly untilMs: number; readonly why: Cause }
  | {
      readonly tag: "half_open";
      readonly sinceMs: number;
      /** Why it had opened. */
      readonly why: Cause;
      readonly issued: number;
      readonly passed: number;
      readonly failed: number;
      readonly live: readonly Probe[];
    };

export interface Probe {
  readonly id: string;
  readonly untilMs: number;
  /** Gates told of a slow or failed request meanwhile. */
  readonly troubled: boolean;
}

export function isOverload(cause: Cause): cause is Overload {
  return cause === "memory" || cause === "queue";
}
