import type { Heartbeat, PermitOutcome } from "../../src/routing/messages.ts";
import type { Call } from "./cast.ts";

/**
 * Who picks a replica. It sees what a router sees: what it sent where, first tokens and ends as they are told to it, and
 * heartbeats. Caches it can only guess.
 */
export interface Router {
  acquire(call: Call, id: string, nowMs: number): Answer;
  /** The first token of a request that it sent. */
  started(id: string, nowMs: number): readonly Sent[];
  /** It still runs there. */
  extend(id: string, replica: string, nowMs: number): void;
  release(id: string, outcome: PermitOutcome, nowMs: number): readonly Sent[];
  heartbeat(beat: Heartbeat, nowMs: number): readonly Sent[];
  sweep(nowMs: number): readonly Sent[];
  nextDeadlineMs(nowMs: number): number | null;
}

export type Answer =
  | { readonly kind: "granted"; readonly replica: string }
  | { readonly kind: "waiting"; readonly predictedWaitMs?: number }
  | { readonly kind: "refused"; readonly retryAfterMs: number };

/** One that waited, and what became of it. */
export interface Sent {
  readonly id: string;
  readonly answer: Answer;
}
