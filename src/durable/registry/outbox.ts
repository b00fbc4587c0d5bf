import { OUTBOX_RETRY_MAX_MS } from "../../bounds.ts";
import type { LocationHint, Tenant, TenantRecord } from "../../catalogue.ts";
import { withDeadline } from "../../deadline.ts";
import { type BudgetAddress, homeOf } from "../stub.ts";
import { OUTBOX_BATCH_MAX, PUSH_TIMEOUT_MS } from "./bounds.ts";

const FIRST_RETRY_MS = 1_000;

/** Tells a tenant's budget object about the tenant. Throws, or takes long, when the object is out of reach. */
export type Push = (address: BudgetAddress, record: TenantRecord) => Promise<void>;

export interface Parcel {
  readonly address: BudgetAddress;
  readonly record: TenantRecord;
  readonly attempts: number;
}

type Row = { tenant_ref: string; home_hint: string; record: string; attempts: number };

/**
 * Records that budget objects have to hear of, written in the transaction of the change itself: no crash loses
 * one. Delivery is at least once and unordered; the receiver goes by the record's version.
 */
export class Outbox {
  readonly #sql: SqlStorage;
  readonly #push: Push;

  constructor(sql: SqlStorage, push: Push) {
    this.#sql = sql;
    this.#push = push;
  }

  /** The caller delivers at once; should it die before it can, the alarm does it a little later. */
  put(record: TenantRecord, nowMs: number): void {
    const { ref, homeHint, version } = record.tenant;
    const dueAtMs = nowMs + PUSH_TIMEOUT_MS + FIRST_RETRY_MS;
    this.#sql.exec(
      `INSERT OR REPLACE INTO outbox (tenant_ref, home_hint, version, record, attempts, due_at_ms)
       VALUES (?, ?, ?, ?, 0, ?)`,
      ...[ref, homeHint, version, JSON.stringify(record), dueAtMs],
    );
  }

  /** What this object has still to be told, if anything. */
  find(address: BudgetAddress): Parcel | null {
    const query = "SELECT * FROM outbox WHERE tenant_ref = ? AND home_hint = ?";
    const [row] = this.#sql.exec<Row>(query, address.tenantRef, address.homeHint).toArray();
    return row ? parcelOf(row) : null;
  }

  due(nowMs: number): Parcel[] {
    const query = "SELECT * FROM outbox WHERE due_at_ms <= ? ORDER BY due_at_ms LIMIT ?";
    return this.#sql.exec<Row>(query, nowMs, OUTBOX_BATCH_MAX).toArray().map(parcelOf);
  }

  /** When the next attempt is due; null when all is delivered. */
  nextDueAtMs(): number | null {
    const query = "SELECT MIN(due_at_ms) AS due FROM outbox";
    return this.#sql.exec<{ due: number | null }>(query).one().due;
  }

  /** One attempt. True when the object has taken the record. `clock` is read once more, after the wait. */
  async deliver(parcel: Parcel, clock: () => number): Promise<boolean> {
    try {
      await withDeadline(this.#push(parcel.address, parcel.record), PUSH_TIMEOUT_MS);
    } catch (error) {
      const { tenantRef } = parcel.address;
      console.error(JSON.stringify({ event: "outbox_failed", tenantRef, detail: String(error) }));
      this.#postpone(parcel, clock());
      return false;
    }
    // A newer record may have taken the row meanwhile: that one is still to be delivered.
    const { tenantRef, homeHint } = parcel.address;
    const query = "DELETE FROM outbox WHERE tenant_ref = ? AND home_hint = ? AND version = ?";
    this.#sql.exec(query, tenantRef, homeHint, parcel.record.tenant.version);
    return true;
  }

  #postpone({ address, record, attempts }: Parcel, nowMs: number): void {
    const dueAtMs = nowMs + Math.min(FIRST_RETRY_MS * 2 ** attempts, OUTBOX_RETRY_MAX_MS);
    this.#sql.exec(
      `UPDATE outbox SET attempts = ?, due_at_ms = ?
       WHERE tenant_ref = ? AND home_hint = ? AND version = ?`,
      ...[attempts + 1, dueAtMs, address.tenantRef, address.homeHint, record.tenant.version],
    );
  }
}

export function addressOf(tenant: Tenant): BudgetAddress {
  return homeOf(tenant.ref, tenant.homeHint);
}

function parcelOf(row: Row): Parcel {
  const address = homeOf(row.tenant_ref, row.home_hint as LocationHint);
  return { address, record: JSON.parse(row.record) as TenantRecord, attempts: row.attempts };
}
