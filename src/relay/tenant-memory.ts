import { LEASE_HINT_MS, PROFILE_CACHE_MAX, PROFILE_FRESH_MS } from "../bounds.ts";
import { type LocationHint, shardAt } from "../catalogue.ts";
import { type BudgetAddress, homeOf } from "../durable/stub.ts";
import type { KeyClaims } from "../keys.ts";
import type { TenantProfile } from "../limits/messages.ts";
import { shardOf } from "../limits/shards.ts";

/** What this isolate knows of tenants from what their budgets answered: short-lived, and never more than a hint. */
const profiles = new Map<string, { readonly profile: TenantProfile; readonly atMs: number }>();

/** Locations that hold a lease, as budget objects said: asking one there is a shorter way than asking the home. */
const leasedUntilMs = new Map<string, number>();

/** Tenants whose requests here several objects share. When this is over, the location's own object is asked anew. */
const shared = new Map<string, { readonly shards: number; readonly untilMs: number }>();

/** Drawn once, at the first need: the platform gives no randomness before there is a request. */
let isolate: number | null = null;

/** What this isolate knows of a key and its tenant from its last reservation; null: reserve first, then rank. */
export function knownProfile(keyId: string): TenantProfile | null {
  const known = profiles.get(keyId);
  return known && Date.now() - known.atMs < PROFILE_FRESH_MS ? known.profile : null;
}

/** What of an answer is worth knowing before the next request. */
interface Heard {
  readonly profile: TenantProfile;
  /** The location has or earns a lease. */
  readonly leaseHere: boolean;
  readonly shards?: number;
}

export function rememberTenant(
  { keyId, tenantRef }: KeyClaims,
  here: LocationHint,
  { profile, leaseHere, shards }: Heard,
): void {
  const nowMs = Date.now();
  if (profiles.size >= PROFILE_CACHE_MAX) profiles.clear();
  profiles.set(keyId, { profile, atMs: nowMs });
  if (leasedUntilMs.size >= PROFILE_CACHE_MAX) leasedUntilMs.clear();
  const name = `${tenantRef}/${here}`;
  if (leaseHere) leasedUntilMs.set(name, nowMs + LEASE_HINT_MS);
  if (shared.size >= PROFILE_CACHE_MAX) shared.clear();
  if (shards !== undefined) shared.set(name, { shards, untilMs: nowMs + LEASE_HINT_MS });
}

/** This isolate's shard of the tenant's budget here, by the last answers; the home when there is no lease here. */
export function addressFrom({ tenantRef, homeHint }: KeyClaims, here: LocationHint): BudgetAddress {
  const home = homeOf(tenantRef, homeHint);
  const name = `${tenantRef}/${here}`;
  const nowMs = Date.now();
  if (here !== homeHint && (leasedUntilMs.get(name) ?? 0) <= nowMs) return home;
  const known = shared.get(name);
  if (known === undefined || known.untilMs <= nowMs) return { ...home, at: here };
  isolate ??= crypto.getRandomValues(new Uint32Array(1))[0]!;
  return { ...home, at: shardAt(here, shardOf(isolate, known.shards)) };
}
