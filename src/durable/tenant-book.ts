import { RESERVATION_KEPT_MS, USAGE_DAYS_KEPT } from "../bounds.ts";
import type { TenantRecord } from "../catalogue.ts";
import type { Account } from "../limits/account.ts";
import type { Book, Change } from "../limits/home.ts";
import type { UsageRow } from "../limits/messages.ts";
import type { Attempt, Reservation, ReservationState } from "../limits/reservation.ts";
import { type DaySlot, slotAt } from "../limits/window.ts";
import { migrate } from "./schema.ts";

/** Rows of one tenant's budget, seen as the pure core's book. Memory is a cache: every change is a row. */
export class TenantBook implements Book {
  readonly #sql: SqlStorage;
  #record: TenantRecord | null = null;
  #accounts = new Map<string, Account>();
  #reservations = new Map<string, Reservation>();
  #dirtyAccounts = new Set<string>();
  #dirtyReservations = new Set<string>();

  constructor(sql: SqlStorage) {
    this.#sql = sql;
    migrate(sql, MIGRATIONS);
    this.forget();
  }

  /** Drops all that memory holds: after a failed transaction it may be ahead of the rows. */
  forget(): void {
    const [row] = this.#sql.exec<{ record: string }>("SELECT record FROM tenant").toArray();
    this.#record = row ? (JSON.parse(row.record) as TenantRecord) : null;
    this.#accounts.clear();
    this.#reservations.clear();
    this.#dirtyAccounts.clear();
    this.#dirtyReservations.clear();
  }

  get known(): boolean {
    return this.#record !== null;
  }

  get record(): TenantRecord {
    if (this.#record === null) throw new Error("tenant-book: no tenant record yet");
    return this.#record;
  }

  /** Takes a record unless a newer one is here: deliveries may come late and out of order. */
  configure(record: TenantRecord): void {
    if (this.#record && this.#record.tenant.version >= record.tenant.version) return;
    this.#sql.exec("INSERT OR REPLACE INTO tenant (id, record) VALUES (1, ?)", JSON.stringify(record));
    this.#record = record;
  }

  account(scope: string): Account | undefined {
    const cached = this.#accounts.get(scope);
    if (cached) return cached;
    const [row] = this.#sql.exec<AccountRow>("SELECT * FROM accounts WHERE scope = ?", scope).toArray();
    if (!row) return undefined;
    const older = this.#sql
      .exec<{ slot: number; tokens: number }>(
        "SELECT slot, tokens FROM day_slots WHERE scope = ? ORDER BY slot",
        scope,
      )
      .toArray();
    const account = accountFrom(row, older);
    this.#accounts.set(scope, account);
    return account;
  }

  reservation(id: string): Reservation | undefined {
    const cached = this.#reservations.get(id);
    if (cached) return cached;
    const [row] = this.#sql.exec<ReservationRow>("SELECT * FROM reservations WHERE id = ?", id).toArray();
    if (!row) return undefined;
    const reservation = reservationFrom(row);
    this.#reservations.set(id, reservation);
    return reservation;
  }

  /** Takes a change into memory; `flush` writes it, in the same transaction. */
  apply(change: Change, nowMs: number): void {
    for (const account of change.accounts) {
      const before = this.account(account.scope);
      if (before && before.day.slot !== account.day.slot) this.#writeRolledSlots(account, before.day.slot);
      this.#accounts.set(account.scope, account);
      this.#dirtyAccounts.add(account.scope);
    }
    this.#reservations.set(change.reservation.id, change.reservation);
    this.#dirtyReservations.add(change.reservation.id);
    const { promptTokens, cachedTokens, outputTokens } = change.settled;
    if (promptTokens + outputTokens > 0 || change.counted) {
      this.#sql.exec(
        `INSERT INTO usage (day, key_id, model, prompt_tokens, cached_tokens, output_tokens, requests)
         VALUES (?, ?, ?, ?, ?, ?, ?)
         ON CONFLICT DO UPDATE SET prompt_tokens = prompt_tokens + excluded.prompt_tokens,
           cached_tokens = cached_tokens + excluded.cached_tokens,
           output_tokens = output_tokens + excluded.output_tokens, requests = requests + excluded.requests`,
        new Date(nowMs).toISOString().slice(0, 10),
        change.reservation.keyId,
        change.reservation.model,
        promptTokens,
        cachedTokens,
        outputTokens,
        change.counted ? 1 : 0,
      );
    }
  }

  /** Writes what changed since the last flush, each row once however often it changed. */
  flush(): void {
    for (const scope of this.#dirtyAccounts) this.#writeAccount(this.#accounts.get(scope)!);
    for (const id of this.#dirtyReservations) this.#writeReservation(this.#reservations.get(id)!);
    this.#dirtyAccounts.clear();
    this.#dirtyReservations.clear();
    if (this.#accounts.size > CACHED_MAX) this.#accounts.clear();
    if (this.#reservations.size > CACHED_MAX) this.#reservations.clear();
  }

  /** Open reservations whose deadline passed, oldest first, at most `max`. */
  due(nowMs: number, max: number): string[] {
    return this.#sql
      .exec<{ id: string }>(
        "SELECT id FROM reservations WHERE state = 'open' AND deadline_ms <= ? ORDER BY deadline_ms LIMIT ?",
        nowMs,
        max,
      )
      .toArray()
      .map(({ id }) => id);
  }

  /** The next deadline of an open reservation, or null. */
  nextDeadlineMs(): number | null {
    return this.#sql
      .exec<{ at: number | null }>("SELECT MIN(deadline_ms) AS at FROM reservations WHERE state = 'open'")
      .one().at;
  }

  /** Removes rows that nothing can refer to any more. True when there may be more of them. */
  sweep(nowMs: number): boolean {
    const removed = this.#sql.exec(
      `DELETE FROM reservations WHERE id IN (SELECT id FROM reservations
         WHERE state <> 'open' AND created_ms < ? ORDER BY created_ms LIMIT ?)`,
      nowMs - RESERVATION_KEPT_MS,
      SWEEP_ROWS,
    ).rowsWritten;
    if (removed > 0) this.#reservations.clear();
    this.#sql.exec("DELETE FROM day_slots WHERE slot < ?", slotAt(nowMs) - 2 * 288);
    const oldestDay = new Date(nowMs - USAGE_DAYS_KEPT * 86_400_000).toISOString().slice(0, 10);
    this.#sql.exec("DELETE FROM usage WHERE day < ?", oldestDay);
    return removed >= SWEEP_ROWS;
  }

  /** Scopes of end users, a page at a time, for the removal of accounts that are as good as new. */
  userScopes(max: number): string[] {
    return this.#sql
      .exec<{ scope: string }>(
        "SELECT scope FROM accounts WHERE scope LIKE 'user:%' AND open = 0 LIMIT ?",
        max,
      )
      .toArray()
      .map(({ scope }) => scope);
  }

  scopes(): string[] {
    return this.#sql
      .exec<{ scope: string }>("SELECT scope FROM accounts LIMIT 1000")
      .toArray()
      .map((row) => row.scope);
  }

  remove(scope: string): void {
    this.#sql.exec("DELETE FROM accounts WHERE scope = ?", scope);
    this.#sql.exec("DELETE FROM day_slots WHERE scope = ?", scope);
    this.#accounts.delete(scope);
    this.#dirtyAccounts.delete(scope);
  }

  usage(): UsageRow[] {
    return this.#sql
      .exec<UsageSqlRow>("SELECT * FROM usage ORDER BY day DESC, key_id, model LIMIT 10000")
      .toArray()
      .map((row) => ({
        keyId: row.key_id,
        day: row.day,
        model: row.model,
        promptTokens: row.prompt_tokens,
        cachedTokens: row.cached_tokens,
        outputTokens: row.output_tokens,
        requests: row.requests,
      }));
  }

  open(): { reservations: number; running: number; reservedTokens: number } {
    return this.#sql
      .exec<{ reservations: number; running: number; reservedTokens: number }>(
        `SELECT COUNT(*) AS reservations, COALESCE(SUM(running), 0) AS running,
           COALESCE(SUM(held_tokens), 0) AS reservedTokens FROM reservations WHERE state = 'open'`,
      )
      .one();
  }

  /** A slot that was being filled becomes a row of its own; the account's row then starts the next. */
  #writeRolledSlots(account: Account, fromSlot: number): void {
    for (const { slot, tokens } of account.day.older.filter((entry) => entry.slot >= fromSlot)) {
      this.#sql.exec(
        "INSERT OR REPLACE INTO day_slots (scope, slot, tokens) VALUES (?, ?, ?)",
        account.scope,
        slot,
        tokens,
      );
    }
  }

  #writeAccount({ scope, tokens, requests, day, heldTokens, open }: Account): void {
    this.#sql.exec(
      `INSERT OR REPLACE INTO accounts
         (scope, token_units, tokens_at_ms, request_units, requests_at_ms, slot, slot_tokens, held_tokens, open)
       VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)`,
      scope,
      tokens.levelUnits,
      tokens.atMs,
      requests.levelUnits,
      requests.atMs,
      day.slot,
      day.slotTokens,
      heldTokens,
      open,
    );
  }

  #writeReservation(reservation: Reservation): void {
    this.#sql.exec(
      `INSERT OR REPLACE INTO reservations
         (id, key_id, scopes, model, created_ms, deadline_ms, held_tokens, attempts, state, running)
       VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
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
    );
  }
}

const CACHED_MAX = 20_000;
const SWEEP_ROWS = 1_000;

const MIGRATIONS = [
  `CREATE TABLE tenant (id INTEGER PRIMARY KEY CHECK (id = 1), record TEXT NOT NULL);
   CREATE TABLE accounts (
     scope TEXT PRIMARY KEY, token_units INTEGER NOT NULL, tokens_at_ms INTEGER NOT NULL,
     request_units INTEGER NOT NULL, requests_at_ms INTEGER NOT NULL, slot INTEGER NOT NULL,
     slot_tokens INTEGER NOT NULL, held_tokens INTEGER NOT NULL, open INTEGER NOT NULL) WITHOUT ROWID;
   CREATE TABLE day_slots (
     scope TEXT NOT NULL, slot INTEGER NOT NULL, tokens INTEGER NOT NULL, PRIMARY KEY (scope, slot)) WITHOUT ROWID;
   CREATE TABLE reservations (
     id TEXT PRIMARY KEY, key_id TEXT NOT NULL, scopes TEXT NOT NULL, model TEXT NOT NULL,
     created_ms INTEGER NOT NULL, deadline_ms INTEGER NOT NULL, held_tokens INTEGER NOT NULL,
     attempts TEXT NOT NULL, state TEXT NOT NULL, running INTEGER NOT NULL) WITHOUT ROWID;
   CREATE INDEX open_reservations ON reservations (deadline_ms) WHERE state = 'open';
   CREATE TABLE usage (
     day TEXT NOT NULL, key_id TEXT NOT NULL, model TEXT NOT NULL, prompt_tokens INTEGER NOT NULL,
     cached_tokens INTEGER NOT NULL, output_tokens INTEGER NOT NULL, requests INTEGER NOT NULL,
     PRIMARY KEY (day, key_id, model)) WITHOUT ROWID`,
];

type AccountRow = {
  scope: string;
  token_units: number;
  tokens_at_ms: number;
  request_units: number;
  requests_at_ms: number;
  slot: number;
  slot_tokens: number;
  held_tokens: number;
  open: number;
};

type ReservationRow = {
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
};

type UsageSqlRow = {
  day: string;
  key_id: string;
  model: string;
  prompt_tokens: number;
  cached_tokens: number;
  output_tokens: number;
  requests: number;
};

function accountFrom(row: AccountRow, rows: DaySlot[]): Account {
  const older = rows.filter((entry) => entry.slot < row.slot);
  const day = {
    slot: row.slot,
    slotTokens: row.slot_tokens,
    older,
    olderTokens: older.reduce((sum, entry) => sum + entry.tokens, 0),
  };
  return {
    scope: row.scope,
    tokens: { levelUnits: row.token_units, atMs: row.tokens_at_ms },
    requests: { levelUnits: row.request_units, atMs: row.requests_at_ms },
    day,
    heldTokens: row.held_tokens,
    open: row.open,
  };
}

function reservationFrom(row: ReservationRow): Reservation {
  return {
    id: row.id,
    keyId: row.key_id,
    scopes: JSON.parse(row.scopes) as string[],
    model: row.model,
    createdAtMs: row.created_ms,
    deadlineMs: row.deadline_ms,
    heldTokens: row.held_tokens,
    attempts: JSON.parse(row.attempts) as Attempt[],
    state: row.state as ReservationState,
    running: row.running === 1,
  };
}
