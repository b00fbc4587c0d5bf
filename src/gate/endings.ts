import type { Away } from "../contract/continuation.ts";
import type { Outcome } from "../contract/report.ts";
import { classifyEngineError, type EngineError } from "../engine/failure.ts";
import type { Failure } from "../errors.ts";

/** How one attempt ends, and what follows from it. The table in README.md has one row for each. */
export interface Ending {
  readonly outcome: Outcome;
  /** What the edge is told; null where there is an answer, or nobody left to tell. */
  readonly failure: Failure | null;
  /** Whether another replica may do better, as long as nothing was sent. */
  readonly retryable: boolean;
  /** Whether the engine is still at work: then it is aborted, and what it had already made is counted. */
  readonly engineRuns: boolean;
  /** What it says about the replica, for the breaker. */
  readonly verdict: "ok" | "failed" | "overloaded" | "draining" | "none";
  /** The engine had the request and died with it: the request may be why. */
  readonly died?: boolean;
  /** Nothing has failed: the stream is handed over, because this leaves. */
  readonly away?: Away;
}

export const COMPLETE: Ending = {
  outcome: "complete",
  failure: null,
  retryable: false,
  engineRuns: false,
  verdict: "ok",
};

/** The budget is used up. */
export const STOPPED: Ending = {
  outcome: "stopped",
  failure: null,
  retryable: false,
  engineRuns: true,
  verdict: "ok",
};

/** The edge left, because its client did or because it died itself. */
export const CLIENT_GONE: Ending = {
  outcome: "client_gone",
  failure: null,
  retryable: false,
  engineRuns: true,
  verdict: "none",
};

export const DEADLINE: Ending = {
  outcome: "deadline",
  failure: { tag: "deadline_exceeded" },
  retryable: false,
  engineRuns: true,
  verdict: "none",
};

export const FIRST_TOKEN_TIMEOUT: Ending = {
  outcome: "first_token_timeout",
  failure: { tag: "origin_failed", internalDetail: "no first token in time" },
  retryable: true,
  engineRuns: false,
  verdict: "failed",
};

export const TOKEN_GAP_TIMEOUT: Ending = {
  outcome: "token_gap_timeout",
  failure: { tag: "stream_broken", internalDetail: "the engine fell silent" },
  retryable: true,
  engineRuns: false,
  verdict: "failed",
};

/** Something leaves and its grace is over. Nobody's fault: where that can be, the edge has another go on. */
export function leaves(away: Away): Ending {
  return {
    outcome: "failed",
    failure: { tag: "stream_broken", internalDetail: `the ${away} had to leave` },
    retryable: true,
    engineRuns: true,
    verdict: "none",
    away,
  };
}

/** The engine failed: no connection, 5xx, error frame, early end, garbage. */
export function failed(internalDetail: string): Ending {
  return {
    outcome: "failed",
    failure: { tag: "origin_failed", internalDetail },
    retryable: true,
    engineRuns: false,
    verdict: "failed",
  };
}

/** The same ending for a client that has tokens already: it is told that they are not all. */
export function brokenOff(ending: Ending): Ending {
  const { failure } = ending;
  if (failure?.tag !== "origin_failed") return ending;
  return { ...ending, failure: { tag: "stream_broken", internalDetail: failure.internalDetail } };
}

/** The engine is full. */
export function overloaded(model: string): Ending {
  return {
    outcome: "overloaded",
    failure: { tag: "no_capacity", model, retryAfterMs: 1_000 },
    retryable: true,
    engineRuns: false,
    verdict: "overloaded",
  };
}

/** The engine finds fault with the request itself: so would every other. */
export function refused(failure: Failure): Ending {
  return { outcome: "refused", failure, retryable: false, engineRuns: false, verdict: "none" };
}

/** What an engine's error answer, or its error frame inside a stream, ends in. */
export function engineEnding(error: EngineError, model: string): Ending {
  const meaning = classifyEngineError(error);
  switch (meaning.kind) {
    case "refused":
      return refused(meaning.failure);
    case "overloaded":
      return overloaded(model);
    case "draining":
      return { ...overloaded(model), verdict: "draining" };
    case "failed":
      return { ...failed(`the engine answered ${error.status}`), died: ENGINE_DEAD.test(error.message) };
  }
}

/** What vLLM's API process says when the process that computes is gone (docs/vllm.md). */
const ENGINE_DEAD = /EngineCore|EngineDead/;
