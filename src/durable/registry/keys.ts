import type { ApiKey, KeyRecord } from "../../catalogue.ts";
import { ENDED_KEY_KEPT_MS } from "./bounds.ts";
import { pageOf } from "./documents.ts";
import type { Page, PageAsk } from "./messages.ts";

type Row = { document: string; secret_hash: string };

/** Rows of keys. The hash of a key's secret has a column of its own, so that no document can show it. */
export class Keys {
  readonly #sql: SqlStorage;

  constructor(sql: SqlStorage) {
    this.#sql = sql;
  }

  get(tenantId: string, id: string): ApiKey | null {
    const query = "SELECT document, secret_hash FROM keys WHERE tenant_id = ? AND id = ?";
    const [row] = this.#sql.exec<Row>(query, tenantId, id).toArray();
    return row ? keyOf(row) : null;
  }

  page(tenantId: string, { cursor, limit }: PageAsk): Page<ApiKey> {
    const query = "SELECT document, secret_hash FROM keys WHERE tenant_id = ? AND id > ? ORDER BY id LIMIT ?";
    const rows = this.#sql.exec<Row>(query, tenantId, cursor ?? "", limit + 1).toArray();
    return pageOf(rows.map(keyOf), limit, (key) => key.id);
  }

  /** As the tenant's budget object needs them: all, so that it can tell an ended key from an unknown one. */
  records(tenantId: string): KeyRecord[] {
    return this.#of(tenantId).map((row) => {
      const { id, limits, expiresAtMs = null, revokedAtMs, priority, defaultPriority } = keyOf(row);
      const bands = { ...(priority && { priority }), ...(defaultPriority && { defaultPriority }) };
      return { id, secretHash: row.secret_hash, limits, expiresAtMs, revokedAtMs, ...bands };
    });
  }

  insert(key: ApiKey, secretHash: string): void {
    const query = "INSERT INTO keys (id, tenant_id, secret_hash, document) VALUES (?, ?, ?, ?)";
    this.#sql.exec(query, key.id, key.tenantId, secretHash, JSON.stringify(key));
  }

  replace(key: ApiKey): void {
    this.#sql.exec("UPDATE keys SET document = ? WHERE id = ?", JSON.stringify(key), key.id);
  }

  removeAll(tenantId: string): void {
    this.#sql.exec("DELETE FROM keys WHERE tenant_id = ?", tenantId);
  }

  /** Drops keys that ended long ago; returns how many are left. */
  prune(tenantId: string, nowMs: number): number {
    const keys = this.#of(tenantId).map(keyOf);
    const old = keys.filter((key) => endedAtMs(key) <= nowMs - ENDED_KEY_KEPT_MS);
    for (const key of old) this.#sql.exec("DELETE FROM keys WHERE id = ?", key.id);
    return keys.length - old.length;
  }

  #of(tenantId: string): Row[] {
    const query = "SELECT document, secret_hash FROM keys WHERE tenant_id = ? ORDER BY id";
    return this.#sql.exec<Row>(query, tenantId).toArray();
  }
}

function keyOf(row: Row): ApiKey {
  return JSON.parse(row.document) as ApiKey;
}

/** When the key stops or stopped to work; infinite for one without an end. */
export function endedAtMs(key: ApiKey): number {
  return Math.min(key.revokedAtMs ?? Number.POSITIVE_INFINITY, key.expiresAtMs ?? Number.POSITIVE_INFINITY);
}
