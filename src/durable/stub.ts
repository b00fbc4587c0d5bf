import {
  type BudgetPlace,
  type Catalogue,
  type LocationHint,
  locationOf,
  type Step,
  type TenantRecord,
} from "../catalogue.ts";
import type { Env } from "../env.ts";
import type { LeaseTerms, Renewal } from "../limits/lease.ts";
import type {
  BlockAnswer,
  BlockAsk,
  BlockClaim,
  BlockTold,
  BudgetReport,
  KeyCheck,
  ReserveAnswer,
  ReserveAsk,
  TenantUsage,
} from "../limits/messages.ts";
import type {
  AcquireAsk,
  BreakerOrder,
  BreakersView,
  Death,
  Grant,
  Heartbeat,
  Held,
  Outcomes,
  PermitOutcome,
  PoolState,
  Refused,
  RttReport,
  Snapshot,
  Verdict,
} from "../routing/messages.ts";

/**
 * The one place that names objects, and what each answers from outside. The interfaces are spelled out because the
 * runtime's own stub types split a union of results into a union of promises, which nothing can await.
 */
export interface TenantBudgetStub {
  configure(record: TenantRecord): Promise<void>;
  reserve(ask: ReserveAsk): Promise<ReserveAnswer>;
  report(reports: readonly BudgetReport[]): Promise<{ stop: string[] }>;
  check(keyId: string, secretHash: string): Promise<KeyCheck>;
  finish(requestId: string, claim?: BlockClaim): Promise<void>;
  /** Two attempts run for the same answer; false: one of them is on the bill already, so there must be no second. */
  race(requestId: string, attempts: readonly number[], claim?: BlockClaim): Promise<boolean>;
  /** One of those that race serves and is charged; of the others nothing is. */
  elect(requestId: string, winner: number): Promise<void>;
  cancel(requestId: string, claim?: BlockClaim): Promise<void>;
  blocks(ask: BlockAsk | null, told: readonly BlockTold[]): Promise<BlockAnswer>;
  usage(): Promise<TenantUsage | null>;
  usageHere(): Promise<Pick<TenantUsage, "byKey" | "saved" | "open">>;
  renew(messages: readonly Renewal[], knownVersion: number): Promise<RenewAnswer>;
  recall(scope: string, keepTokens: number): Promise<void>;
}

export interface RenewAnswer {
  readonly terms: readonly LeaseTerms[];
  /** The tenant's record when the holder's is older: revocation and limits ride on leases. */
  readonly record: TenantRecord | null;
}

export interface RegionPoolStub {
  acquire(ask: AcquireAsk): Promise<AcquiredStub>;
  heartbeat(beat: Heartbeat): Promise<void>;
  watch(readersHint: LocationHint): Promise<PoolState>;
  state(): Promise<PoolState>;
  /** Null: there is no such replica. */
  overrideBreaker(order: BreakerOrder): Promise<BreakersView | null>;
  outcomes(sinceMs: number): Promise<Outcomes>;
}

/**
 * What an acquire gives. `permit` is held by the caller's session: it comes back within milliseconds of the
 * caller's end, a killed one included. Whoever must wait does so on `wait`, never on `permit`: a call pending on a
 * stub can hold back that stub's disposer.
 */
export type AcquiredStub =
  | { readonly answer: Grant; readonly permit: PermitStub }
  | { readonly answer: Held; readonly permit: PermitStub; readonly wait: WaitStub }
  | { readonly answer: Refused };

export interface PermitStub {
  /** Its first token came: who waits for this prompt to be computed is sent. */
  started(): Promise<void>;
  extend(replica: string): Promise<void>;
  release(outcome: PermitOutcome): Promise<void>;
}

export interface WaitStub {
  granted(): Promise<Grant | Refused>;
}

export interface DirectoryStub {
  /**
   * `knownVersion` is the reader's catalogue: it is sent again only when there is a newer one. `measured` are the round
   * trips that the reader saw since it last asked.
   */
  snapshot(knownVersion: number, measured?: readonly RttReport[]): Promise<Snapshot>;
  publish(state: PoolState): Promise<void>;
}

export interface RegistryReader {
  catalogue(knownVersion: number): Promise<Catalogue | null>;
  tenantRecord(tenantRef: string): Promise<TenantRecord | null>;
  /** Engines that died, and suspects that have completed since. Says what changed by it. */
  died(deaths: readonly Death[], cleared: readonly string[]): Promise<Verdict>;
  /** The router itself asks for a human's yes. */
  propose(
    by: { readonly actor: string; readonly requestId: string },
    proposal: {
      readonly model: string;
      readonly step: Step;
      readonly mode: "allow";
      readonly reason: string;
    },
  ): Promise<unknown>;
}

/**
 * Name and hint go together: the same name asked for with another hint would silently reach the object where it
 * first was. A generation in the name lets an operator move an object.
 */
export interface BudgetAddress {
  readonly tenantRef: string;
  readonly homeHint: LocationHint;
  readonly generation: number;
  /** Where the object itself lives: the home, or a place that spends a lease. */
  readonly at: BudgetPlace;
}

/** A tenant's home. Generation 0: moving a budget to another object is not possible yet. */
export function homeOf(tenantRef: string, homeHint: LocationHint): BudgetAddress {
  return { tenantRef, homeHint, generation: 0, at: homeHint };
}

export function tenantBudget(env: Env, address: BudgetAddress): TenantBudgetStub {
  const place = { locationHint: hint(locationOf(address.at)) };
  return env.TENANT_BUDGET.getByName(budgetName(address), place) as unknown as TenantBudgetStub;
}

export function budgetName({ tenantRef, homeHint, generation, at }: BudgetAddress): string {
  return `${tenantRef}/${homeHint}/${generation}/${at}`;
}

/** What an object's own name says. */
export function budgetAddressOf(name: string): BudgetAddress {
  const [tenantRef = "", homeHint = "enam", generation = "0", at = homeHint] = name.split("/");
  return {
    tenantRef,
    homeHint: homeHint as LocationHint,
    generation: Number(generation),
    at: at as BudgetPlace,
  };
}

/** One object per pool, model and cell (routing/cells.ts). */
export function regionPool(
  env: Env,
  pool: string,
  poolHint: LocationHint,
  model: string,
  cell = 0,
): RegionPoolStub {
  const name = `${pool}/${poolHint}/${model}/${cell}`;
  return env.REGION_POOL.getByName(name, { locationHint: hint(poolHint) }) as unknown as RegionPoolStub;
}

export function directory(env: Env, readersHint: LocationHint): DirectoryStub {
  return env.DIRECTORY.getByName(readersHint, {
    locationHint: hint(readersHint),
  }) as unknown as DirectoryStub;
}

/** The part of the registry that other objects read; the admin API has its own view of it. */
export function registryReader(env: Env): RegistryReader {
  return registry(env) as unknown as RegistryReader;
}

export function registry(env: Env) {
  return env.REGISTRY.getByName("registry");
}

/** The runtime knows more hints than its published types do. */
function hint(name: LocationHint): DurableObjectLocationHint {
  return name as DurableObjectLocationHint;
}
