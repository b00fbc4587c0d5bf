import { EVEN_WEIGHTS, type Weights } from "../../catalogue.ts";
import type { UsageRow } from "../../limits/messages.ts";
import type { Attempt, Reservation, ReservationState } from "../../limits/reservation.ts";
import { weightedUsage } from "../../limits/weights.ts";
import { SAVED_TABLE } from "./saved.ts";

/**
 * Requests of a scope (the parameter, twice) that never ran, as far as is known: open reservations (`hasRun`), and what
 * blocks hold.
 */
export const UNHEARD_OF = `SELECT
    (SELECT COUNT(*) FROM reservations, json_each(scopes) AS held
       WHERE state = 'open' AND held.value = ? AND NOT EXISTS
         (SELECT 1 FROM json_each(attempts) AS attempt WHERE json_extract(attempt.value, '$.unheard') IS NULL
            OR json_extract(attempt.value, '$.begun') IS NOT NULL))
    + (SELECT COALESCE(SUM(json_extract(body, '$.heldRequests')), 0) FROM blocks, json_each(body, '$.scopes') AS held
       WHERE state <> 'over' AND held.value = ?) AS requests`;

/** Tables of a tenant's budget, and what their rows mean. */
export const MIGRATIONS = [
  `CREATE TABLE tenant (id INTEGER PRIMARY KEY CHECK (id = 1), record TEXT NOT NULL);
   CREATE TABLE accounts (
     scope TEXT PRIMARY KEY, body TEXT NOT NULL, open INTEGER NOT NULL) WITHOUT ROWID;
   CREATE TABLE day_slots (
     scope TEXT NOT NULL, slot INTEGER NOT NULL, tokens INTEGER NOT NULL, PRIMARY KEY (scope, slot)) WITHOUT ROWID;
   CREATE TABLE reservations (
     id TEXT PRIMARY KEY, key_id TEXT NOT NULL, scopes TEXT NOT NULL, model TEXT NOT NULL,
     created_ms INTEGER NOT NULL, deadline_ms INTEGER NOT NULL, held_tokens INTEGER NOT NULL,
     attempts TEXT NOT NULL, state TEXT NOT NULL, running INTEGER NOT NULL) WITHOUT ROWID;
   CREATE INDEX open_reservations ON reservations (deadline_ms) WHERE state = 'open';
   CREATE TABLE leases (
     holder TEXT NOT NULL, scope TEXT NOT NULL, body TEXT NOT NULL, PRIMARY KEY (holder, scope)) WITHOUT ROWID;
   CREATE TABLE usage (
     day TEXT NOT NULL, key_id TEXT NOT NULL, model TEXT NOT NULL, prompt_tokens INTEGER NOT NULL,
     cached_tokens INTEGER NOT NULL, output_tokens INTEGER NOT NULL, requests INTEGER NOT NULL,
     PRIMARY KEY (day, key_id, model)) WITHOUT ROWID`,
  `ALTER TABLE reservations ADD COLUMN weights TEXT;
   ALTER TABLE reservations ADD COLUMN settled_tokens INTEGER`,
  SAVED_TABLE,
  `CREATE TABLE blocks (
     id TEXT PRIMARY KEY, body TEXT NOT NULL, created_ms INTEGER NOT NULL, deadline_ms INTEGER NOT NULL,
     held_tokens INTEGER NOT NULL, state TEXT NOT NULL) WITHOUT ROWID;
   CREATE INDEX live_blocks ON blocks (deadline_ms) WHERE state <> 'over'`,
  "ALTER TABLE reservations ADD COLUMN pace INTEGER NOT NULL DEFAULT 0",
];

export type ReservationRow = {
  id: string;
  key_id: string;
  scopes: string;
  model: string;
  created_ms: number;
  deadline_ms: number;
  held_tokens: number;
  attempts: string;
  state: string;
  running: number;
  /** Null in rows from before there were weights: one each. */
  weights: string | null;
  settled_tokens: number | null;
  pace: number;
};

export type UsageSqlRow = {
  day: string;
  key_id: string;
  model: string;
  prompt_tokens: number;
  cached_tokens: number;
  output_tokens: number;
  requests: number;
};

export function reservationFrom(row: ReservationRow): Reservation {
  const attempts = JSON.parse(row.attempts) as Attempt[];
  const weights = row.weights === null ? EVEN_WEIGHTS : (JSON.parse(row.weights) as Weights);
  return {
    id: row.id,
    keyId: row.key_id,
    scopes: JSON.parse(row.scopes) as string[],
    model: row.model,
    createdAtMs: row.created_ms,
    deadlineMs: row.deadline_ms,
    weights,
    heldTokens: row.held_tokens,
    settledTokens: row.settled_tokens ?? weightedUsage(attempts, weights),
    paceTokensPerSecond: row.pace,
    attempts,
    state: row.state as ReservationState,
    running: row.running === 1,
  };
}

export function usageFrom(row: UsageSqlRow): UsageRow {
  return {
    keyId: row.key_id,
    day: row.day,
    model: row.model,
    promptTokens: row.prompt_tokens,
    cachedTokens: row.cached_tokens,
    outputTokens: row.output_tokens,
    requests: row.requests,
  };
}
