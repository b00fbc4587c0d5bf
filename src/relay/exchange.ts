import { POOL_WAIT_MAX_MS } from "../bounds.ts";
import type { LocationHint } from "../catalogue.ts";
import type { Call, Endpoint } from "../engine/endpoint.ts";
import type { Env } from "../env.ts";
import type { PromptBlocks } from "../routing/blocks.ts";
import type { Located } from "../routing/geo.ts";
import type { Secrets } from "../secrets.ts";
import type { Trace } from "../telemetry/trace.ts";
import type { Asked } from "./asked.ts";
import type { Caller } from "./authenticate.ts";

/** One request on its way, after it was authenticated and parsed. */
export interface Exchange {
  readonly request: Request;
  readonly env: Env;
  readonly ctx: ExecutionContext;
  readonly secrets: Secrets;
  readonly trace: Trace;
  readonly endpoint: Endpoint;
  readonly claims: Caller;
  readonly call: Call;
  readonly bytes: Uint8Array<ArrayBuffer>;
  readonly client: Located;
  /** The location hint nearest to the client: whose directory and budget object serve it. */
  readonly here: LocationHint;
  /** Whether a stream of it that breaks off can be carried on elsewhere. */
  readonly resumable: boolean;
  /** Whether an engine would say the same again: temperature 0. */
  readonly exact: boolean;
  /** Salted names of its prompt's leading blocks. */
  readonly prompt: PromptBlocks;
  /** What the client said of its place in the queue. */
  readonly asked: Asked;
  /** The same conversation has the same name, and nobody can tell whose it is; null where the client names none. */
  readonly session: string | null;
  readonly startedAtMs: number;
  /** Epoch milliseconds after which no origin may start it, and at which it ends whatever happens. */
  readonly startByMs: number;
  readonly deadlineMs: number;
  readonly terms: Terms;
}

/** How one try of a request differs from what its client asked for: the ladder's doing (degrade.ts). */
export interface Terms {
  /** Names the try at budget, pool and gate: the request's id, and for later tries that with a number. */
  readonly id: string;
  /** Longest wait for a place. */
  readonly patienceMs: number;
  readonly regions: "any" | "best" | "other";
  /** Most output per choice, or null. */
  readonly outputCapTokens: number | null;
  /** Nothing is computed for it: it is admitted at no tokens. */
  readonly free: boolean;
  /** Stands in the order in place of a usage ticket: nobody is charged. */
  readonly ticket: string | null;
  /** Another try may follow, so what this one held has to be given back before it fails. */
  readonly more: boolean;
}

/** As the client asked. */
export function asAsked(requestId: string): Terms {
  return {
    ...{ id: requestId, patienceMs: POOL_WAIT_MAX_MS, regions: "any", outputCapTokens: null },
    ...{ free: false, ticket: null, more: false },
  };
}
