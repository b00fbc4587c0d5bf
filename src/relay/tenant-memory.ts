import { LEASE_HINT_MS, PROFILE_CACHE_MAX, PROFILE_FRESH_MS } from "../bounds.ts";
import { type BudgetPlace, type LocationHint, locationOf, shardAt, shardOf } from "../catalogue.ts";
import { type BudgetAddress, homeOf } from "../durable/stub.ts";
import type { KeyClaims } from "../keys.ts";
import type { HeatTold, TenantProfile } from "../limits/messages.ts";
import { asking, heard, type ShardChoice, UNCHOSEN, unheard, type Work, worked } from "../limits/shards.ts";

/** What this isolate knows of tenants from what their budgets answered: short-lived, and never more than a hint. */
const profiles = new Map<string, { readonly profile: TenantProfile; readonly atMs: number }>();

/** Locations that hold a lease, as budget objects said: asking one there is a shorter way than asking the home. */
const leasedUntilMs = new Map<string, number>();

/** Which of a location's objects this isolate asks, by tenant and location. */
const choices = new Map<string, ShardChoice>();

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
  readonly heat?: HeatTold;
}

export function rememberTenant(
  { keyId, tenantRef }: KeyClaims,
  here: LocationHint,
  { profile, leaseHere, heat }: Heard,
): void {
  const nowMs = Date.now();
  if (profiles.size >= PROFILE_CACHE_MAX) profiles.clear();
  profiles.set(keyId, { profile, atMs: nowMs });
  if (leasedUntilMs.size >= PROFILE_CACHE_MAX) leasedUntilMs.clear();
  const name = `${tenantRef}/${here}`;
  if (leaseHere) leasedUntilMs.set(name, nowMs + LEASE_HINT_MS);
  if (heat !== undefined && locationOf(heat.at) === here) {
    choose(name, (choice) => heard(choice, { shard: shardOf(heat.at), load: heat.load }, nowMs, Math.random));
  }
}

/** One of the tenant's objects is out of reach. */
export function rememberSilence({ tenantRef }: KeyClaims, at: BudgetPlace): void {
  choose(`${tenantRef}/${locationOf(at)}`, (choice) => unheard(choice, shardOf(at), Date.now(), Math.random));
}

/** Requests were admitted by an object of this location, or out of its blocks. */
export function rememberWork({ tenantRef }: KeyClaims, here: LocationHint, work: Work): void {
  choose(`${tenantRef}/${here}`, (choice) => worked(choice, work, Date.now()));
}

/** This isolate's shard of the tenant's budget here, by the last answers; the home when there is no lease here. */
export function addressFrom({ tenantRef, homeHint }: KeyClaims, here: LocationHint): BudgetAddress {
  const home = homeOf(tenantRef, homeHint);
  const name = `${tenantRef}/${here}`;
  const nowMs = Date.now();
  if (here !== homeHint && (leasedUntilMs.get(name) ?? 0) <= nowMs) return home;
  const { choice, shard } = asking(choices.get(name) ?? UNCHOSEN, nowMs);
  choose(name, () => choice);
  return { ...home, at: shardAt(here, shard) };
}

function choose(name: string, change: (choice: ShardChoice) => ShardChoice): void {
  if (choices.size >= PROFILE_CACHE_MAX && !choices.has(name)) choices.clear();
  choices.set(name, change(choices.get(name) ?? UNCHOSEN));
}
