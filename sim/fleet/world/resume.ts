import {
  DEATHS_MAX,
  RESUME_CALLS_MAX,
  RESUME_JITTER_MS,
  RESUME_RETRY_MS,
  RESUME_WITHIN_MS,
} from "../../../src/bounds.ts";
import type { Call } from "../cast.ts";
import type { Edge, Stream } from "./edge.ts";
import type { Request } from "./request.ts";
import { markTried, type Seat, takeSeat } from "./seats.ts";

/** How streams are carried on; what production does not do is there to show what it is good for. */
export interface Resumes {
  /** Whether pools are told that a call carries a stream on, so that their share for such applies. */
  readonly haveShare: boolean;
}

/** Finds somebody who carries a stream on that broke off (src/relay/resume.ts). Null: nobody did in time. */
export async function resume(
  edge: Edge,
  request: Request,
  failed: Seat,
  emittedTokens: number,
): Promise<Stream | null> {
  const { time } = edge;
  const call = restOf(request.call, emittedTokens);
  markTried(request, failed, false);
  request.deaths += 1;
  const untilMs = time.nowMs + RESUME_WITHIN_MS;
  await time.sleep(edge.random() * RESUME_JITTER_MS);
  const resumed: Request = { ...request, call, resumes: edge.resumes.haveShare ? 1 : 0 };
  for (let calls = 0; calls < RESUME_CALLS_MAX && time.nowMs < untilMs; ) {
    if (resumed.deaths >= DEATHS_MAX) return null;
    const seat = await takeSeat(edge, resumed, false);
    if (seat === null) {
      await time.sleep(RESUME_RETRY_MS * (1 + edge.random()));
      continue;
    }
    calls += 1;
    const called = await edge.call(seat, call);
    resumed.attempts += 1;
    if (called.kind === "answer") return called.stream;
    seat.release(called.why === "overloaded" ? "overloaded" : "failed");
    markTried(resumed, seat, called.why === "unreachable");
    if (called.why === "died") resumed.deaths += 1;
  }
  return null;
}

/** What was sent becomes part of the prompt; the blocks of the prompt itself are the same. */
function restOf(call: Call, emittedTokens: number): Call {
  return {
    ...call,
    promptTokens: call.promptTokens + emittedTokens,
    estimatedTokens: call.estimatedTokens + emittedTokens,
    outputTokens: Math.max(1, call.outputTokens - emittedTokens),
    carriedTokens: emittedTokens,
  };
}
