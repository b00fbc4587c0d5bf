import { REPLY_KEPT_MS } from "./bounds.ts";
import type { Done } from "./messages.ts";

/** Answers to changes that were made, by request: one that the runtime delivers again gets the same answer. */
export class Replies {
  readonly #sql: SqlStorage;

  constructor(sql: SqlStorage) {
    this.#sql = sql;
  }

  find<T>(requestId: string): Done<T> | null {
    const query = "SELECT reply FROM replies WHERE request_id = ?";
    const [row] = this.#sql.exec<{ reply: string }>(query, requestId).toArray();
    return row ? (JSON.parse(row.reply) as Done<T>) : null;
  }

  keep(requestId: string, reply: Done<unknown>, nowMs: number): void {
    this.#sql.exec("DELETE FROM replies WHERE at_ms < ?", nowMs - REPLY_KEPT_MS);
    const query = "INSERT INTO replies (request_id, at_ms, reply) VALUES (?, ?, ?)";
    this.#sql.exec(query, requestId, nowMs, JSON.stringify(reply));
  }
}
