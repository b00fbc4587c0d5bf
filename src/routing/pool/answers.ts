import type { Held, Refused } from "../messages.ts";
import type { Entry } from "./entry.ts";
import type { Replica } from "./replica.ts";
import { firstTokenMsAt } from "./waits.ts";

/** Sooner is no use: a whole acquire takes about that long from another continent. */
const RETRY_MIN_MS = 250;
/** Where nothing was measured that would tell. */
export const RETRY_UNKNOWN_MS = 1_000;
/** Replicas come back with a heartbeat at the earliest. */
export const RETRY_NO_REPLICA_MS = 2_000;

/** How much too late its first token would come here; not above 0: in time. */
export function latenessMs(
  { work, uncachedTokens }: Entry,
  replica: Replica,
  waitMs: number,
  nowMs: number,
): number {
  if (work.firstTokenByMs === null) return 0;
  const ahead = waitMs > 0 ? 0 : replica.prefill.aheadTokens(nowMs);
  return nowMs + waitMs + firstTokenMsAt(replica, uncachedTokens, ahead) - work.firstTokenByMs;
}

export function heldAs({ predictedWaitMs }: Entry): Held {
  const predicted = predictedWaitMs === null ? {} : { predictedWaitMs: Math.round(predictedWaitMs) };
  return { kind: "waiting", ...predicted };
}

export function refused(reason: Refused["reason"], retryAfterMs: number): Refused {
  return { kind: "refused", reason, retryAfterMs: Math.max(RETRY_MIN_MS, Math.ceil(retryAfterMs)) };
}
