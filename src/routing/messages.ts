import type { Catalogue } from "../catalogue.ts";
import type { CountedPrompt } from "../contract/prompt-basis.ts";
import type { ReplicaReport, Tally } from "../contract/report.ts";
import type { Learned } from "../limits/messages.ts";

/** What edge, pools and directories say to each other. */

export interface AcquireAsk {
  /** `<request id>/<attempt>`: taking the same permit twice gives the same one. */
  readonly id: string;
  /** From the edge's catalogue: the pool learns changes with the next request. */
  readonly config: PoolConfig;
  /** Replicas that already failed this request. */
  readonly exclude: readonly string[];
  /** How long it may wait in the pool's queue; 0: refuse at once when full. */
  readonly waitMs: number;
  /** It carries a stream on that broke off elsewhere: such have a share of their own. */
  readonly resumes?: boolean;
}

export interface PoolConfig {
  readonly catalogueVersion: number;
  readonly concurrencyPerReplica: number;
  /** Null: no limit. */
  readonly tokensPerSecond: number | null;
}

export interface Grant {
  readonly kind: "granted";
  readonly replica: string;
}

export interface Refused {
  readonly kind: "refused";
  readonly reason: "full" | "no_replica" | "too_many_tokens" | "waited_too_long";
  readonly retryAfterMs: number;
}

/** How the holder of a permit says it went. */
export type PermitOutcome = "answered" | "failed" | "overloaded" | "client_gone" | "not_used";

/** The state of one pool for one model, as directories hold it. */
export interface PoolState {
  readonly pool: string;
  readonly model: string;
  /** Grows with every change, also over restarts: a late message is recognised. */
  readonly epoch: number;
  readonly atMs: number;
  readonly replicas: readonly ReplicaView[];
  /** Permits that all usable replicas together may have out. */
  readonly capacity: number;
  readonly inUse: number;
  readonly waiting: number;
  /** Where the object really runs, if it could find out. */
  readonly colo: string | null;
  /** What its engines' counts have taught about the model's prompts; absent from a pool of a version before. */
  readonly learned?: Learned;
}

export interface ReplicaView {
  readonly id: string;
  readonly usable: boolean;
  readonly state: ReplicaReport["state"];
  readonly breaker: BreakerState;
  readonly permits: number;
  readonly running: number;
  readonly waiting: number;
  readonly kvCacheUsage: number;
  readonly gpuMemoryUsage: number | null;
}

export type BreakerState = "closed" | "open" | "half_open";

/** One gate's word on one pool's replicas for one model. */
export interface Heartbeat {
  readonly gate: string;
  readonly sequence: number;
  readonly draining: boolean;
  /** As the edge knows it: a pool that nobody has asked yet still tells its true capacity. */
  readonly config: PoolConfig;
  readonly replicas: readonly ReplicaReport[];
  readonly tallies: readonly Tally[];
  /** Prompts that its engines have counted, a few of each batch. */
  readonly counted?: readonly CountedPrompt[];
}

/** What a directory gives to the edge. */
export interface Snapshot {
  /** Null when the reader has this version already. */
  readonly catalogue: Catalogue | null;
  readonly catalogueVersion: number;
  readonly pools: readonly PoolState[];
}
