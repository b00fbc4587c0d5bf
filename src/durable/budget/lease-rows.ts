import type { Lease } from "../../limits/lease-home.ts";
import { NO_PACE } from "../../limits/pace.ts";

/** Rows of the leases that a home has given out. */

/** Of one scope, or all. */
export function readLeases(sql: SqlStorage, scope?: string): Lease[] {
  const rows =
    scope === undefined
      ? sql.exec<{ body: string }>("SELECT body FROM leases")
      : sql.exec<{ body: string }>("SELECT body FROM leases WHERE scope = ?", scope);
  return rows.toArray().map(({ body }) => leaseFrom(body));
}

export function writeLease(sql: SqlStorage, lease: Lease): void {
  sql.exec(
    "INSERT OR REPLACE INTO leases (holder, scope, body) VALUES (?, ?, ?)",
    lease.holder,
    lease.scope,
    JSON.stringify(lease),
  );
}

type Gauges = "pace" | "heldTokens" | "wantedRequests" | "ratePerMinute";

/** A row of a version before has no gauges. */
export function leaseFrom(body: string): Lease {
  const lease = JSON.parse(body) as Omit<Lease, Gauges> & Partial<Pick<Lease, Gauges>>;
  return { pace: NO_PACE, heldTokens: 0, wantedRequests: 0, ratePerMinute: null, ...lease };
}
