import { type KeyRecord, keyBands, type Limits, type TenantRecord } from "../catalogue.ts";
import type { Usage } from "../contract/report.ts";
import type { Block } from "./block.ts";
import type { TenantProfile } from "./messages.ts";
import type { Purse } from "./purse.ts";
import type { Reservation } from "./reservation.ts";
import type { WeightedSaved } from "./saved.ts";

/** What the transitions of a ledger read: a tenant's record, what its scopes may spend, and what is reserved of it. */
export interface Book<P> {
  readonly record: TenantRecord;
  readonly purse: Purse<P>;
  account(scope: string): P | undefined;
  reservation(id: string): Reservation | undefined;
  block(id: string): Block | undefined;
}

/** What a transition writes, all of it or nothing. */
export interface Change<P> {
  readonly accounts: readonly P[];
  readonly reservation: Reservation;
  /** The block that the reservation was taken out of, where this change took it. */
  readonly block: Block | null;
  /** Usage that was not settled before this change. */
  readonly settled: Usage;
  /** True once per reservation: when its request is counted in the usage table. */
  readonly counted: boolean;
  readonly saved?: WeightedSaved;
}

export const NO_USAGE: Usage = { promptTokens: 0, cachedTokens: 0, outputTokens: 0 };

export function limitsOf(record: TenantRecord, scope: string): Limits {
  if (scope === "tenant") return record.tenant.limits;
  if (scope.startsWith("user:")) return record.tenant.endUserLimits;
  return record.keys.find((key) => `key:${key.id}` === scope)?.limits ?? {};
}

/** Scopes without any limit have no account, and so no row. */
export function scopesOf(record: TenantRecord, key: KeyRecord, endUser: string | null): string[] {
  const scopes = ["tenant"];
  if (Object.keys(key.limits).length > 0) scopes.push(`key:${key.id}`);
  if (endUser !== null && Object.keys(record.tenant.endUserLimits).length > 0) scopes.push(`user:${endUser}`);
  return scopes;
}

export function accountAt<P>(book: Book<P>, scope: string, limits: Limits, nowMs: number): P {
  const { purse } = book;
  return purse.at(book.account(scope) ?? purse.fresh(scope, limits, nowMs), limits, nowMs);
}

/** The accounts of a reservation or a block, at `nowMs`. */
export function accountsOf<P>(
  book: Book<P>,
  { scopes }: { readonly scopes: readonly string[] },
  nowMs: number,
): P[] {
  return scopes.map((scope) => accountAt(book, scope, limitsOf(book.record, scope), nowMs));
}

/** What an admission tells of the tenant, and of the key that asked. */
export function profileOf({ keys, tenant }: TenantRecord, keyId: string): TenantProfile {
  return {
    tenantId: tenant.id,
    version: tenant.version,
    homeHint: tenant.homeHint,
    regions: tenant.regions ?? null,
    bands: keyBands(keys.find(({ id }) => id === keyId) ?? {}),
    responseCache: tenant.responseCache ?? false,
  };
}
