import type { Tenant, TenantInput, TenantPatch, TenantRecord } from "../../catalogue.ts";
import type { BudgetAddress } from "../stub.ts";
import type { Audit } from "./audit.ts";
import { Documents, nextNumber, patched, sameDocument } from "./documents.ts";
import { Keys } from "./keys.ts";
import { type By, type Done, missing, ok, type Result, refused } from "./messages.ts";
import { addressOf, type Outbox } from "./outbox.ts";

/** Tenants, and what every change of one entails: a new version, an audit entry, a record for its budget object. */
export class Tenants {
  readonly documents: Documents<Tenant>;
  readonly keys: Keys;
  readonly #sql: SqlStorage;
  readonly #audit: Audit;
  readonly #outbox: Outbox;

  constructor(sql: SqlStorage, audit: Audit, outbox: Outbox) {
    this.documents = new Documents(sql, "tenants");
    this.keys = new Keys(sql);
    this.#sql = sql;
    this.#audit = audit;
    this.#outbox = outbox;
  }

  create(by: By, nowMs: number, input: TenantInput, ref: string): Result<Done<Tenant>> {
    if (this.documents.get(input.id)) {
      return refused({ tag: "already_exists", what: `tenant '${input.id}'` });
    }
    // 65 bits of a hash: two ids that share them would share keys and budget.
    if (this.record(ref)) return refused({ tag: "conflict", detail: "Choose another tenant id." });
    const version = nextNumber(this.#sql, "tenants");
    const tenant: Tenant = { ...input, ref, version, createdAtMs: nowMs };
    const query = "INSERT INTO tenants (id, ref, document) VALUES (?, ?, ?)";
    this.#sql.exec(query, tenant.id, ref, JSON.stringify(tenant));
    this.#audit.add(by, nowMs, "tenant.create", target(tenant), null, tenant);
    return ok({ value: tenant, push: this.#tell(tenant, nowMs) });
  }

  update(by: By, nowMs: number, id: string, version: number, patch: TenantPatch): Result<Done<Tenant>> {
    const found = this.at(id, version);
    if (!found.ok) return found;
    const before = found.value;
    const changed = patched(before, patch);
    if (sameDocument(changed, before)) return ok({ value: before, push: addressOf(before) });
    const after = { ...changed, version: nextNumber(this.#sql, "tenants") };
    this.documents.replace(after);
    this.#audit.add(by, nowMs, "tenant.update", target(after), before, after);
    return ok({ value: after, push: this.#tell(after, nowMs) });
  }

  remove(by: By, nowMs: number, id: string, version: number | null): Result<Done<null>> {
    const found = this.at(id, version);
    if (!found.ok) return found;
    const tenant = found.value;
    this.keys.removeAll(id);
    this.documents.remove(id);
    this.#audit.add(by, nowMs, "tenant.delete", target(tenant), tenant, null);
    // Its budget object still exists: suspended and without keys, it admits nothing.
    const last: Tenant = { ...tenant, suspended: true, version: nextNumber(this.#sql, "tenants") };
    this.#outbox.put({ tenant: last, keys: [] }, nowMs);
    return ok({ value: null, push: addressOf(tenant) });
  }

  /** The tenant, if it is at `version` (null: at any). */
  at(id: string, version: number | null): Result<Tenant> {
    const tenant = this.documents.get(id);
    if (!tenant) return missing(`tenant '${id}'`);
    if (version !== null && version !== tenant.version) {
      return refused({ tag: "version_mismatch", current: tenant.version });
    }
    return ok(tenant);
  }

  /** A key changed: the record that holds it needs a new version. */
  touch(tenant: Tenant, nowMs: number): BudgetAddress {
    const touched = { ...tenant, version: nextNumber(this.#sql, "tenants") };
    this.documents.replace(touched);
    return this.#tell(touched, nowMs);
  }

  record(ref: string): TenantRecord | null {
    const rows = this.#sql.exec<{ document: string }>("SELECT document FROM tenants WHERE ref = ?", ref);
    const [row] = rows.toArray();
    return row ? this.#recordOf(JSON.parse(row.document) as Tenant) : null;
  }

  #recordOf(tenant: Tenant): TenantRecord {
    return { tenant, keys: this.keys.records(tenant.id) };
  }

  #tell(tenant: Tenant, nowMs: number): BudgetAddress {
    this.#outbox.put(this.#recordOf(tenant), nowMs);
    return addressOf(tenant);
  }
}

function target(tenant: Tenant): string {
  return `tenants/${tenant.id}`;
}
