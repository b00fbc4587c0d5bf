/** What all parts of a running replica share. */
import type { EngineLoop } from "./engine/loop.ts";
import type { FaultBoard } from "./faults.ts";
import type { Ledger } from "./ledger.ts";
import type { Metrics } from "./metrics.ts";
import type { ReplicaOptions } from "./options.ts";

/** An answer under way. */
export type OpenAnswer = {
  /** Ends it because the replica goes down: in-band, as vLLM does, or by a cut. */
  fail(how: "engineError" | "cut"): void;
};

export type Site = {
  readonly options: ReplicaOptions;
  readonly board: FaultBoard;
  readonly ledger: Ledger;
  readonly answers: Set<OpenAnswer>;
  /** Replaced by a restart, like the metrics. */
  loop: EngineLoop;
  metrics: Metrics;
  /** SIGTERM was received and open answers are still running. */
  draining: boolean;
  /** Ends the replica as SIGKILL would. */
  readonly die: () => void;
  /** Cuts everything and comes back empty after `ms`. */
  readonly restart: (ms: number) => void;
  /** Refuses connections for `ms`, and breaks off the open ones. */
  readonly closeListener: (ms: number) => void;
};
