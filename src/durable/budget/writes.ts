import type { Block } from "../../limits/block.ts";
import type { UsageRow } from "../../limits/messages.ts";
import type { Reservation } from "../../limits/reservation.ts";

/** How the parts of a tenant's book become rows (rows.ts). Each runs inside the transaction of its turn. */

/** What every purse has: the book keys rows by scope, and looks for idle end users. */
export interface Scoped {
  readonly scope: string;
  readonly open: number;
}

export function writeAccount(sql: SqlStorage, { open, scope }: Scoped, body: string): void {
  sql.exec("INSERT OR REPLACE INTO accounts (scope, body, open) VALUES (?, ?, ?)", scope, body, open);
}

export function writeReservation(sql: SqlStorage, reservation: Reservation): void {
  sql.exec(
    `INSERT OR REPLACE INTO reservations
       (id, key_id, scopes, model, created_ms, deadline_ms, held_tokens, attempts, state, running,
        weights, settled_tokens, pace)
     VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
    reservation.id,
    reservation.keyId,
    JSON.stringify(reservation.scopes),
    reservation.model,
    reservation.createdAtMs,
    reservation.deadlineMs,
    reservation.heldTokens,
    JSON.stringify(reservation.attempts),
    reservation.state,
    reservation.running ? 1 : 0,
    JSON.stringify(reservation.weights),
    reservation.settledTokens,
    reservation.paceTokensPerSecond,
  );
}

export function writeBlock(sql: SqlStorage, block: Block): void {
  sql.exec(
    `INSERT OR REPLACE INTO blocks (id, body, created_ms, deadline_ms, held_tokens, state)
     VALUES (?, ?, ?, ?, ?, ?)`,
    block.id,
    JSON.stringify(block),
    block.createdAtMs,
    block.deadlineMs,
    block.heldTokens,
    block.state,
  );
}

/** Adds to the row of one key, model and day. */
export function addUsage(sql: SqlStorage, row: UsageRow): void {
  sql.exec(
    `INSERT INTO usage (day, key_id, model, prompt_tokens, cached_tokens, output_tokens, requests)
     VALUES (?, ?, ?, ?, ?, ?, ?)
     ON CONFLICT DO UPDATE SET prompt_tokens = prompt_tokens + excluded.prompt_tokens,
       cached_tokens = cached_tokens + excluded.cached_tokens,
       output_tokens = output_tokens + excluded.output_tokens, requests = requests + excluded.requests`,
    row.day,
    row.keyId,
    row.model,
    row.promptTokens,
    row.cachedTokens,
    row.outputTokens,
    row.requests,
  );
}
