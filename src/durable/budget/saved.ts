import type { Change } from "../../limits/book.ts";
import type { SavedRow } from "../../limits/messages.ts";

/** What the response cache spared a tenant, by day, key and model. */
export const SAVED_TABLE = `CREATE TABLE saved (
  day TEXT NOT NULL, key_id TEXT NOT NULL, model TEXT NOT NULL, requests INTEGER NOT NULL,
  prompt_tokens INTEGER NOT NULL, output_tokens INTEGER NOT NULL, weighted_tokens INTEGER NOT NULL,
  PRIMARY KEY (day, key_id, model)) WITHOUT ROWID`;

type Row = {
  day: string;
  key_id: string;
  model: string;
  requests: number;
  prompt_tokens: number;
  output_tokens: number;
  weighted_tokens: number;
};

export function addSaved(
  sql: SqlStorage,
  { reservation, saved }: Pick<Change<unknown>, "reservation" | "saved">,
  nowMs: number,
): void {
  if (saved === undefined) return;
  sql.exec(
    `INSERT INTO saved (day, key_id, model, requests, prompt_tokens, output_tokens, weighted_tokens)
     VALUES (?, ?, ?, 1, ?, ?, ?)
     ON CONFLICT DO UPDATE SET requests = requests + 1, prompt_tokens = prompt_tokens + excluded.prompt_tokens,
       output_tokens = output_tokens + excluded.output_tokens,
       weighted_tokens = weighted_tokens + excluded.weighted_tokens`,
    new Date(nowMs).toISOString().slice(0, 10),
    reservation.keyId,
    reservation.model,
    saved.promptTokens,
    saved.outputTokens,
    saved.weightedTokens,
  );
}

export function savedRows(sql: SqlStorage): SavedRow[] {
  const query = "SELECT * FROM saved ORDER BY day DESC, key_id, model LIMIT 10000";
  return sql
    .exec<Row>(query)
    .toArray()
    .map((row) => ({
      keyId: row.key_id,
      day: row.day,
      model: row.model,
      requests: row.requests,
      promptTokens: row.prompt_tokens,
      outputTokens: row.output_tokens,
      weightedTokens: row.weighted_tokens,
    }));
}

/** Rows of several objects as one list: of a key's day and model there is one. */
export function summedSaved(rows: readonly SavedRow[]): SavedRow[] {
  const byName = new Map<string, SavedRow>();
  for (const row of rows) {
    const name = `${row.day}\n${row.keyId}\n${row.model}`;
    const known = byName.get(name);
    byName.set(name, known === undefined ? row : added(known, row));
  }
  return [...byName.values()];
}

function added(one: SavedRow, other: SavedRow): SavedRow {
  return {
    ...one,
    requests: one.requests + other.requests,
    promptTokens: one.promptTokens + other.promptTokens,
    outputTokens: one.outputTokens + other.outputTokens,
    weightedTokens: one.weightedTokens + other.weightedTokens,
  };
}
