import { LEASE_HINT_MS, PROFILE_CACHE_MAX, PROFILE_FRESH_MS } from "../bounds.ts";
import type { LocationHint } from "../catalogue.ts";
import { type BudgetAddress, homeOf } from "../durable/stub.ts";
import type { KeyClaims } from "../keys.ts";
import type { TenantProfile } from "../limits/messages.ts";

/** What this isolate knows of tenants from what their budgets answered: short-lived, and never more than a hint. */
const profiles = new Map<string, { readonly profile: TenantProfile; readonly atMs: number }>();

/** Locations that hold a lease, as budget objects said: asking one there is a shorter way than asking the home. */
const leasedUntilMs = new Map<string, number>();

/** What this isolate knows of a key and its tenant from its last reservation; null: reserve first, then rank. */
export function knownProfile(keyId: string): TenantProfile | null {
  const known = profiles.get(keyId);
  return known && Date.now() - known.atMs < PROFILE_FRESH_MS ? known.profile : null;
}

/** `leaseHere`: the location has or earns a lease. */
export function rememberTenant(
  { keyId, tenantRef }: KeyClaims,
  here: LocationHint,
  profile: TenantProfile,
  leaseHere: boolean,
): void {
  const nowMs = Date.now();
  if (profiles.size >= PROFILE_CACHE_MAX) profiles.clear();
  profiles.set(keyId, { profile, atMs: nowMs });
  if (leasedUntilMs.size >= PROFILE_CACHE_MAX) leasedUntilMs.clear();
  if (leaseHere) leasedUntilMs.set(`${tenantRef}/${here}`, nowMs + LEASE_HINT_MS);
}

/** The tenant's own object at this location, by the last answer; the home when none has a lease here. */
export function addressFrom({ tenantRef, homeHint }: KeyClaims, here: LocationHint): BudgetAddress {
  const home = homeOf(tenantRef, homeHint);
  const leased = here !== homeHint && (leasedUntilMs.get(`${tenantRef}/${here}`) ?? 0) > Date.now();
  return leased ? { ...home, at: here } : home;
}
