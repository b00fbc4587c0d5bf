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
}
