import { AUDIT_KEPT } from "../../bounds.ts";
import { pageOf } from "./documents.ts";
import type { AuditEntry, By, Page, PageAsk } from "./messages.ts";

type Row = {
  id: number;
  at_ms: number;
  actor: string;
  request_id: string;
  action: string;
  target: string;
  before: string | null;
  after: string | null;
};

/** Who changed what. Nothing updates it; only the oldest entries above the bound go. */
export class Audit {
  readonly #sql: SqlStorage;

  constructor(sql: SqlStorage) {
    this.#sql = sql;
  }

  /** `before` and `after` are what the admin API shows of the thing, so they hold no secrets. */
  add(by: By, nowMs: number, action: string, target: string, before: object | null, after: object | null) {
    const values = [nowMs, by.actor, by.requestId, action, target, json(before), json(after)];
    const { id } = this.#sql
      .exec<{ id: number }>(
        `INSERT INTO audit (at_ms, actor, request_id, action, target, before, after)
         VALUES (?, ?, ?, ?, ?, ?, ?) RETURNING id`,
        ...values,
      )
      .one();
    this.#sql.exec("DELETE FROM audit WHERE id <= ?", id - AUDIT_KEPT);
  }

  /** Newest first. */
  page({ cursor, limit }: PageAsk): Page<AuditEntry> {
    const beforeId = cursor === null ? Number.MAX_SAFE_INTEGER : Number(cursor);
    const rows = this.#sql
      .exec<Row>("SELECT * FROM audit WHERE id < ? ORDER BY id DESC LIMIT ?", beforeId, limit + 1)
      .toArray();
    return pageOf(rows.map(entryOf), limit, (entry) => String(entry.id));
  }
}

function json(document: object | null): string | null {
  return document === null ? null : JSON.stringify(document);
}

function entryOf({ at_ms, request_id, ...same }: Row): AuditEntry {
  return { ...same, atMs: at_ms, requestId: request_id };
}
