import type { Page, PageAsk } from "./messages.ts";

/** Rows that are one JSON document each, by id: tenants, models, pools. */
export class Documents<T extends { readonly id: string }> {
  readonly #sql: SqlStorage;
  readonly #table: "tenants" | "models" | "pools";

  constructor(sql: SqlStorage, table: "tenants" | "models" | "pools") {
    this.#sql = sql;
    this.#table = table;
  }

  get(id: string): T | null {
    const [row] = this.#rows(`SELECT document FROM ${this.#table} WHERE id = ?`, id);
    return row ?? null;
  }

  all(): T[] {
    return this.#rows(`SELECT document FROM ${this.#table} ORDER BY id`);
  }

  page({ cursor, limit }: PageAsk): Page<T> {
    const query = `SELECT document FROM ${this.#table} WHERE id > ? ORDER BY id LIMIT ?`;
    return pageOf(this.#rows(query, cursor ?? "", limit + 1), limit, (document) => document.id);
  }

  count(): number {
    return this.#sql.exec<{ n: number }>(`SELECT COUNT(*) AS n FROM ${this.#table}`).one().n;
  }

  replace(document: T): void {
    const query = `UPDATE ${this.#table} SET document = ? WHERE id = ?`;
    this.#sql.exec(query, JSON.stringify(document), document.id);
  }

  remove(id: string): void {
    this.#sql.exec(`DELETE FROM ${this.#table} WHERE id = ?`, id);
  }

  #rows(query: string, ...bindings: (string | number)[]): T[] {
    const rows = this.#sql.exec<{ document: string }>(query, ...bindings).toArray();
    return rows.map((row) => JSON.parse(row.document) as T);
  }
}

/** A page out of up to `limit + 1` rows: the one too many only tells that there is more. */
export function pageOf<T>(rows: readonly T[], limit: number, cursorOf: (row: T) => string): Page<T> {
  const data = rows.slice(0, limit);
  const last = data.at(-1);
  return { data, nextCursor: rows.length > limit && last !== undefined ? cursorOf(last) : null };
}

/** `current` with what a change names; null takes an optional setting back. */
export function patched<T extends object>(current: T, patch: object): T {
  const next: Record<string, unknown> = Object.fromEntries(Object.entries(current));
  for (const [name, value] of Object.entries(patch)) {
    if (value === null) delete next[name];
    else if (value !== undefined) next[name] = value;
  }
  return next as T;
}

/** True when a change changes nothing: both came out of JSON, with the same order of fields. */
export function sameDocument(a: object, b: object): boolean {
  return JSON.stringify(a) === JSON.stringify(b);
}

type Series = "tenants" | "catalogue" | "approvals";

/** The next number of a series that never repeats, also not after what it numbered was deleted. */
export function nextNumber(sql: SqlStorage, series: Series): number {
  const query =
    "INSERT INTO counters (name, value) VALUES (?, 1) ON CONFLICT (name) DO UPDATE SET value = value + 1 RETURNING value";
  return sql.exec<{ value: number }>(query, series).one().value;
}

export function lastNumber(sql: SqlStorage, series: Series): number {
  const rows = sql.exec<{ value: number }>("SELECT value FROM counters WHERE name = ?", series).toArray();
  return rows[0]?.value ?? 0;
}
