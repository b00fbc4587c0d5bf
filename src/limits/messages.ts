import type { BudgetPlace, KeyBands, LocationHint, Weights } from "../catalogue.ts";
import type { Usage } from "../contract/report.ts";
import type { Failure, LimitScope } from "../errors.ts";

/** What edge and budget object say to each other. Every message is idempotent by request id. */

export interface ReserveAsk {
  readonly requestId: string;
  /** The location whose clients this serves; of what a lease holder passes on, the holder. */
  readonly from: BudgetPlace;
  readonly keyId: string;
  readonly secretHash: string;
  /** Hash of the client's name for its end user, or null. */
  readonly endUser: string | null;
  readonly model: string;
  /** Estimated. */
  readonly promptTokens: number;
  /** The client's limit per choice, or null. */
  readonly maxOutputTokens: number | null;
  readonly choices: number;
  readonly generates: boolean;
  /** Its output is known only at its end. */
  readonly atOnce?: boolean;
  /** What the asker's own lease has outstanding: the home itself looks it up. */
  readonly ownLeasedTokens?: number;
  /** What the model's tokens weigh now, by the edge's catalogue; absent: one each. */
  readonly weights?: Weights;
}

export type AdmissionMode = "home" | "lease" | "block" | "soft";

export type ReserveAnswer =
  | {
      readonly ok: true;
      /** Weighted. */
      readonly reservedTokens: number;
      /** The most output per choice that the whole budget allows, or null when it sets no bound. */
      readonly outputCapTokens: number | null;
      /** The tenant is near its concurrency limit: tell `finish` at the stream's end, the gate's report is late. */
      readonly finishEagerly: boolean;
      readonly standing: Standing;
      readonly profile: TenantProfile;
      /** Which of the tenant's objects holds the reservation. */
      readonly at: BudgetPlace;
      /** The location earns or has a lease: ask its own object next time. */
      readonly leaseHere: boolean;
      /** Of the object that was asked; absent where the asker is elsewhere, or its requests are not to be shared out. */
      readonly heat?: HeatTold;
      /** `soft`: beyond what the budget could prove, by the tenant's allowance while its home is out of reach. */
      readonly mode: AdmissionMode;
    }
  | { readonly ok: false; readonly failure: Failure; readonly standing: Standing | null };

/** How busy a budget object is (shards.ts), told to the isolates of its location. */
export interface HeatTold {
  readonly at: BudgetPlace;
  /** Of the rate that one object was measured to do. */
  readonly load: number;
}

/** An isolate asks for reservations in advance (block.ts), as many as it expects to admit within a second. */
export interface BlockAsk {
  /** Chosen by the isolate: asking again with it grants nothing more. */
  readonly id: string;
  readonly from: BudgetPlace;
  readonly keyId: string;
  readonly secretHash: string;
  readonly model: string;
  readonly weights: Weights;
  readonly requests: number;
  /** Weighted. */
  readonly tokens: number;
}

export type BlockAnswer =
  | {
      readonly ok: true;
      readonly tokens: number;
      readonly requests: number;
      /** The isolate may admit from it for that long after it sent its ask. */
      readonly useMs: number;
      /** The smallest of the whole token budgets, which no request may exceed; null: there is none. */
      readonly wholeTokens: number | null;
      /** Requests that name an end user have limits of their own: they are asked for one by one. */
      readonly endUsersHaveLimits: boolean;
      /** The tenant's policy; where it is `stop`, answers that are known only at their end are asked for one by one. */
      readonly overdraft?: "stop" | "debt";
      readonly standing: Standing;
      readonly profile: TenantProfile;
      /** As in `ReserveAnswer`. */
      readonly heat?: HeatTold;
    }
  /** No failure: there is too little left for a block, ask for each request. */
  | { readonly ok: false; readonly failure: Failure | null };

/** An isolate is done with a block: all that it ever admitted out of it. */
export interface BlockTold {
  readonly id: string;
  readonly requests: number;
  readonly tokens: number;
}

/** What a request that was admitted out of a block is to hold. */
export interface BlockClaim {
  readonly id: string;
  /** Weighted. */
  readonly tokens: number;
}

export type KeyCheck =
  | { readonly ok: true; readonly models: readonly string[] | null }
  | { readonly ok: false; readonly failure: Failure };

/** What ranking needs of a tenant; cached in the isolate for a short time. */
export interface TenantProfile {
  readonly tenantId: string;
  readonly version: number;
  readonly homeHint: LocationHint;
  /** Null: any. */
  readonly regions: readonly string[] | null;
  /** Of the key that asked; absent from an object of a version before. */
  readonly bands?: KeyBands;
  /** Whether answers to its requests may be kept; absent from an object of a version before: no. */
  readonly responseCache?: boolean;
}

/** Where the tightest of the request's scopes stands, for the `x-ratelimit-*` headers. Tokens are weighted. */
export interface Standing {
  readonly tokens: Level | null;
  readonly requests: Level | null;
  readonly day: Level | null;
}

export interface Level {
  readonly scope: LimitScope;
  readonly limit: number;
  readonly remaining: number;
  /** Until it is full again. */
  readonly resetMs: number;
}

/**
 * How a model's prompts differ from what the cold start takes them for (learn.ts): factors on the estimated tokens of a
 * text by its class, and tokens of the chat template that the edge does not count. Each the 95th percentile.
 */
export interface Learned {
  readonly prose: Quantile;
  readonly code: Quantile;
  readonly cjk: Quantile;
  readonly other: Quantile;
  readonly frame: Quantile;
}

export interface Quantile {
  readonly value: number;
  /** Prompts that it was learned from. */
  readonly count: number;
}

/** One attempt's usage so far, as a gate reported it and the edge verified it. */
export interface BudgetReport {
  readonly requestId: string;
  readonly keyId: string;
  readonly model: string;
  readonly attempt: number;
  readonly usage: Usage;
  readonly final: boolean;
  readonly tokensPerSecond: number;
  /** Nobody got any of it yet: held, not settled. */
  readonly unsent: boolean;
  /** Where the request was admitted out of a block. */
  readonly block?: BlockClaim;
  /** The answer came out of the response cache: tokens of the model that an engine did not have to compute. */
  readonly saved?: Saved;
}

export interface Saved {
  readonly promptTokens: number;
  readonly outputTokens: number;
}

/** What the response cache spared a key. Weighted: what it would have cost in the tenant's limits. */
export interface SavedRow extends Saved {
  readonly keyId: string;
  /** UTC, `YYYY-MM-DD`. */
  readonly day: string;
  readonly model: string;
  readonly requests: number;
  readonly weightedTokens: number;
}

export interface UsageRow extends Usage {
  readonly keyId: string;
  /** UTC, `YYYY-MM-DD`, by the time of the report. */
  readonly day: string;
  readonly model: string;
  readonly requests: number;
}

/** Usage is in the models' own tokens; what is reserved, and every limit, in weighted ones. */
export interface TenantUsage {
  readonly totals: Usage & { readonly requests: number };
  readonly byKey: readonly UsageRow[];
  /** Answers out of the response cache; their requests are in `totals` too, with no tokens. */
  readonly saved: readonly SavedRow[];
  readonly open: { readonly reservations: number; readonly running: number; readonly reservedTokens: number };
  readonly limits: readonly LimitState[];
}

export interface LimitState {
  readonly scope: string;
  readonly tokensPerMinute: { limit: number; available: number } | null;
  readonly tokensPerDay: { limit: number; used: number } | null;
  readonly requestsPerMinute: { limit: number; available: number } | null;
  readonly concurrentRequests: { limit: number; running: number } | null;
}
