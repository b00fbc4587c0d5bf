import type { Band } from "../catalogue/band.ts";
import type { PolicyName } from "../catalogue/policy.ts";
import type { BreakerSettings, Catalogue } from "../catalogue.ts";
import type { CountedPrompt } from "../contract/prompt-basis.ts";
import type { ReplicaReport, Tally } from "../contract/report.ts";
import type { Learned } from "../limits/messages.ts";
import type { BreakerState, BreakersView } from "./messages/breakers.ts";

export type * from "./messages/breakers.ts";

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
  /** Epoch milliseconds when it first asked, if not now: after a pool's restart its place in the queue counts from then. */
  readonly sinceMs?: number;
  /** It carries a stream on that broke off elsewhere: such have a share of their own. */
  readonly resumes?: boolean;
  /** What it will cost and whom it serves; absent from an edge of a version before: then it counts as small. */
  readonly work?: Work;
}

export { BANDS, type Band } from "../catalogue/band.ts";

/** One request as a pool sees it: sizes, salted names of its prompt's blocks, nothing of its text. */
export interface Work {
  /** Estimated. */
  readonly promptTokens: number;
  /** Expected; for the memory that it will take, not for its bill. */
  readonly outputTokens: number;
  /** Names of the prompt's leading full blocks, each depending on all before it and on the tenant's salt. */
  readonly blocks: readonly number[];
  /** Estimated tokens in one block. */
  readonly blockTokens: number;
  readonly tenant: string;
  readonly band: Band;
  /** Keeps a conversation at one replica where the policy is `session`; a salted hash. */
  readonly session: string | null;
  /** Epoch milliseconds by which its first token has to come, or it is of no use; null: whenever it may. */
  readonly firstTokenByMs: number | null;
  /** What the edge holds of it in memory while it waits. */
  readonly bytes: number;
}

export { POLICIES, type PolicyName } from "../catalogue/policy.ts";

export interface PoolConfig {
  readonly catalogueVersion: number;
  readonly concurrencyPerReplica: number;
  /** Null: no limit. */
  readonly tokensPerSecond: number | null;
  /** How a replica is chosen; `predicted-ttft` where absent. */
  readonly policy?: PolicyName;
  /** When its breakers open; absent from whoever does not know: then what was said before stands. */
  readonly breakers?: BreakerSettings;
}

export interface Grant {
  readonly kind: "granted";
  readonly replica: string;
  /** From being sent to its first token, as the pool expects. */
  readonly predictedMs?: number;
  /** What the pool thinks of which it is a hit in that replica's cache. */
  readonly cachedTokens?: number;
}

/** Bound to a replica and held until that has room. */
export interface Held {
  readonly kind: "waiting";
  /** Until it is sent, as the pool expects. */
  readonly predictedWaitMs?: number;
}

export interface Refused {
  readonly kind: "refused";
  /** `too_late`: it would miss its deadline here, so it was not queued at all. */
  readonly reason: "full" | "no_replica" | "too_many_tokens" | "waited_too_long" | "too_late";
  readonly retryAfterMs: number;
}

/** How the holder of a permit says it went. */
export type PermitOutcome = "answered" | "failed" | "overloaded" | "client_gone" | "not_used";

/** The state of one pool for one model, as directories hold it. */
export interface PoolState {
  readonly pool: string;
  readonly model: string;
  /** Its number, and how many cells the pool has, as gates count them; absent: one. */
  readonly cell?: number;
  readonly cells?: number;
  /** Grows with every change, also over restarts: a late message is recognised. */
  readonly epoch: number;
  readonly atMs: number;
  readonly replicas: readonly ReplicaView[];
  /** Of the pool as a whole: while open, it serves only whom no other pool can. Absent from a pool of a version before. */
  readonly breaker?: BreakerState;
  /** Share 0 … 1 of its normal work that it should be given: less than all while it is tried, ramps up or is overloaded. */
  readonly breakerShare?: number;
  readonly breakers?: BreakersView;
  /** Permits that all usable replicas together may have out. */
  readonly capacity: number;
  readonly inUse: number;
  readonly waiting: number;
  /** What a request of each band that comes now would wait before it is sent. */
  readonly waitMs?: Readonly<Record<Band, number>>;
  /** What its best replica would need to the first token of a prompt that nobody has cached: a base, and per token. */
  readonly firstTokenMs?: { readonly baseMs: number; readonly msPerToken: number };
  /** How far predicted waits were off, per band: counts by `WAIT_ERROR_EDGES_MS` of real less predicted. */
  readonly waitErrors?: Readonly<Record<Band, readonly number[]>>;
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
  /** Uncached prompt tokens sent or held there whose first token has not come, as the pool believes. */
  readonly prefillAheadTokens?: number;
  /** Permits that it may have out now: the configured ceiling, or less after signs of overload. */
  readonly limit?: number;
}

/** One gate's word on one pool's replicas for one model. */
export interface Heartbeat {
  readonly gate: string;
  readonly sequence: number;
  readonly draining: boolean;
  /** Cells of the whole pool; absent: one. */
  readonly cells?: number;
  /** As the edge knows it: a pool that nobody has asked yet still tells its true capacity. */
  readonly config: PoolConfig;
  readonly replicas: readonly ReplicaReport[];
  readonly tallies: readonly Tally[];
  /** Prompts that its engines have counted, a few of each batch. */
  readonly counted?: readonly CountedPrompt[];
  /** Whether another pool has room for this model, as the edge's directory knows. */
  readonly roomElsewhere?: boolean;
  /** What engines found in their caches, for requests that ended since the last batch. */
  readonly served?: readonly Served[];
}

/** How a prompt really fared at its replica: corrects what the pool believes of its cache and of its speed. */
export interface Served {
  /** As in `AcquireAsk`. */
  readonly id: string;
  readonly promptTokens: number;
  readonly cachedTokens: number;
  /** From the gate's call of the engine to its first token; null where that was not seen. */
  readonly firstTokenMs: number | null;
}

/** How requests of one model ended of late, and how long their first tokens took. Adds up over pools. */
export interface Outcomes {
  readonly ok: number;
  readonly failed: number;
  /** Requests by bucket of time to first token, as gates sort them (gate/tallies.ts). */
  readonly waits: readonly number[];
}

/** What a directory gives to the edge. */
export interface Snapshot {
  /** Null when the reader has this version already. */
  readonly catalogue: Catalogue | null;
  readonly catalogueVersion: number;
  readonly pools: readonly PoolState[];
  /** Round trips as this location measured them; absent from a directory of a version before. */
  readonly rtts?: readonly MeasuredRtt[];
}

/** What one isolate measured of one pool since it last told. */
export interface RttReport {
  readonly pool: string;
  /** The least of its round trips, as a difference to what their distances let expect. */
  readonly excessMs: number;
  readonly samples: number;
}

/** What a location knows of the way to one pool. */
export interface MeasuredRtt {
  readonly pool: string;
  /** By how much round trips are longer (or shorter) than their distances let expect. */
  readonly excessMs: number;
  readonly samples: number;
  /** When it last was measured, by the directory's clock. */
  readonly atMs: number;
}

/** An engine that died with requests (quarantine.ts). */
export interface Death {
  /** The same in every delivery. */
  readonly id: string;
  readonly pool: string;
  readonly replica: string;
  readonly atMs: number;
  readonly present: readonly Present[];
}

/** A request that an engine had when it died. */
export interface Present {
  readonly fingerprint: string;
  /** Whether a token of it was seen there. */
  readonly begun: boolean;
}

/** What deaths made of those who were there. */
export interface Verdict {
  readonly held: readonly HeldFingerprint[];
  readonly retracted: readonly string[];
}

export interface HeldFingerprint {
  readonly fingerprint: string;
  readonly untilMs: number;
  readonly offences: number;
}
