import type { AcquireAsk, Heartbeat, PermitOutcome, PoolConfig } from "../../src/routing/messages.ts";
import { Pool } from "../../src/routing/pool.ts";
import type { Call } from "./cast.ts";
import type { Answer, Router, Sent } from "./router.ts";
import { TRACE_BLOCK_TOKENS } from "./trace.ts";

/** What the router expects of an answer's length; the trace's mean is 343. */
const EXPECTED_OUTPUT_TOKENS = 350;
/** For the memory that its body takes at the edge: four letters a token. */
const BYTES_PER_TOKEN = 4;

/** The ask that an edge would send for this call. */
export function askOf(
  call: Call,
  id: string,
  config: PoolConfig,
  { waitMs, exclude = [], firstTokenByMs = null, resumes = false, sinceMs }: AskOptions,
): AcquireAsk {
  return {
    id,
    config,
    exclude,
    waitMs,
    ...(resumes ? { resumes } : {}),
    ...(sinceMs === undefined ? {} : { sinceMs }),
    work: {
      promptTokens: call.estimatedTokens,
      outputTokens: EXPECTED_OUTPUT_TOKENS,
      blocks: call.names,
      blockTokens: TRACE_BLOCK_TOKENS,
      tenant: call.tenant,
      band: call.band,
      session: String(call.session),
      firstTokenByMs,
      bytes: call.estimatedTokens * BYTES_PER_TOKEN,
    },
  };
}

interface AskOptions {
  readonly waitMs: number;
  readonly exclude?: readonly string[];
  readonly firstTokenByMs?: number | null;
  readonly resumes?: boolean;
  /** When it first asked, if not now. */
  readonly sinceMs?: number;
}

/** The pool that production runs, as one of the routers of a replay. */
export class CoreRouter implements Router {
  readonly pool: Pool;
  readonly #config: PoolConfig;
  readonly #waitMs: number;

  constructor(config: PoolConfig, waitMs: number, nowMs: number) {
    this.pool = new Pool([], nowMs);
    this.#config = config;
    this.#waitMs = waitMs;
  }

  acquire(call: Call, id: string, nowMs: number): Answer {
    return this.pool.acquire(askOf(call, id, this.#config, { waitMs: this.#waitMs }), nowMs);
  }

  started(id: string, nowMs: number): readonly Sent[] {
    return this.pool.started(id, nowMs);
  }

  extend(id: string, replica: string, nowMs: number): void {
    this.pool.extend(id, replica, nowMs);
  }

  release(id: string, outcome: PermitOutcome, nowMs: number): readonly Sent[] {
    return this.pool.release(id, outcome, nowMs);
  }

  heartbeat(beat: Heartbeat, nowMs: number): readonly Sent[] {
    return this.pool.heartbeat(beat, nowMs).resolved;
  }

  sweep(nowMs: number): readonly Sent[] {
    return this.pool.sweep(nowMs);
  }

  nextDeadlineMs(nowMs: number): number | null {
    return this.pool.nextDeadlineMs(nowMs);
  }
}
