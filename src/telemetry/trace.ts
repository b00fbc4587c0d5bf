import type { Outcome } from "../contract/report.ts";
import type { EndpointId } from "../engine/endpoint.ts";

/** The stages of a request, in order, as `server-timing` shows them. */
export const STAGES = ["auth", "parse", "rank", "reserve", "acquire", "origin"] as const;
export type Stage = (typeof STAGES)[number];

/** How a request ended, as the edge saw it. */
export type RequestEnd = "complete" | "client_gone" | "cut" | "refused" | "failed" | Outcome;

/**
 * One wide event per request: everything that is known of it, in one log line, at its end. It holds ids, counts and
 * times; never a prompt, an answer, a key or a token.
 */
export class Trace {
  readonly requestId: string;
  readonly startedAtMs: number;
  readonly #stageMs = new Map<Stage, number>();
  tenantRef: string | null = null;
  keyId: string | null = null;
  endpoint: EndpointId | null = null;
  model: string | null = null;
  streamed = false;
  estimatedPromptTokens = 0;
  pool: string | null = null;
  region: string | null = null;
  replica: string | null = null;
  attempts = 0;
  /** Number of the attempt that serves it: not the last one where an earlier one won a race. */
  serving = 0;
  /** Engines that died with it, or whose stream was cut. */
  deaths = 0;
  /** Its fingerprint, once it is known that it was present at an engine's death. */
  suspect: string | null = null;
  /** Times that its stream was carried on elsewhere. */
  resumes = 0;
  status = 0;
  /** As the answer's headers say it. */
  cache: "none" | "miss" | "hit" | "stale" = "none";
  degraded = "none";
  revision: string | null = null;
  /** Tag of the failure that the client was told. */
  failure: string | null = null;
  internalDetail: string | null = null;

  constructor(requestId: string, nowMs: number) {
    this.requestId = requestId;
    this.startedAtMs = nowMs;
  }

  /** Adds the time since `fromMs` to a stage; a stage that is passed twice (failover) sums up. */
  spent(stage: Stage, fromMs: number): void {
    this.#stageMs.set(stage, (this.#stageMs.get(stage) ?? 0) + Math.max(0, Date.now() - fromMs));
  }

  /** The `server-timing` header: milliseconds per stage so far. */
  serverTiming(): string {
    return STAGES.map((stage) => `${stage};dur=${this.#stageMs.get(stage) ?? 0}`).join(", ");
  }

  /** The log line. */
  event(end: RequestEnd, nowMs: number): Record<string, unknown> {
    return {
      event: "request",
      requestId: this.requestId,
      end,
      status: this.status,
      failure: this.failure,
      internalDetail: this.internalDetail,
      endpoint: this.endpoint,
      model: this.model,
      streamed: this.streamed,
      tenantRef: this.tenantRef,
      keyId: this.keyId,
      estimatedPromptTokens: this.estimatedPromptTokens,
      pool: this.pool,
      region: this.region,
      replica: this.replica,
      attempts: this.attempts,
      resumes: this.resumes,
      deaths: this.deaths,
      suspect: this.suspect,
      cache: this.cache,
      degraded: this.degraded,
      revision: this.revision,
      stagesMs: Object.fromEntries(this.#stageMs),
      durationMs: nowMs - this.startedAtMs,
    };
  }
}
