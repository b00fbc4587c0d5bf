import { RESERVATION_KEPT_MS, USAGE_DAYS_KEPT } from "../../bounds.ts";
import type { TenantRecord } from "../../catalogue.ts";
import type { Block } from "../../limits/block.ts";
import type { Book, Change } from "../../limits/book.ts";
import type { Lease } from "../../limits/lease-home.ts";
import type { SavedRow, UsageRow } from "../../limits/messages.ts";
import type { Purse } from "../../limits/purse.ts";
import type { Reservation } from "../../limits/reservation.ts";
import { type DaySlot, slotAt } from "../../limits/window.ts";
import { migrate } from "../schema.ts";
import { readLeases, writeLease } from "./lease-rows.ts";
import {
  MIGRATIONS,
  type ReservationRow,
  reservationFrom,
  UNHEARD_OF,
  type UsageSqlRow,
  usageFrom,
} from "./rows.ts";
import { addSaved, savedRows } from "./saved.ts";
import { addUsage, type Scoped, writeAccount, writeBlock, writeReservation } from "./writes.ts";

/** How one kind of purse becomes rows. */
export interface AccountRows<P> {
  write(account: P): string;
  /** `unheardOf`: requests that its reservations and blocks hold; a version before may have counted them otherwise. */
  read(body: string, slots: readonly DaySlot[], unheardOf: number): P;
  /** Slots of the day window that will not change any more: each becomes a row of its own, written once. */
  endedSlots(before: P, after: P): readonly DaySlot[];
}

/** Rows of one tenant's budget, seen as the pure core's book. Memory is a cache: every change is a row. */
export class TenantBook<P extends Scoped> implements Book<P> {
  readonly purse: Purse<P>;
  readonly #sql: SqlStorage;
  readonly #rows: AccountRows<P>;
  #record: TenantRecord | null = null;
  #accounts = new Map<string, P>();
  #reservations = new Map<string, Reservation>();
  #blocks = new Map<string, Block>();
  #dirtyAccounts = new Set<string>();
  #dirtyReservations = new Set<string>();
  #dirtyBlocks = new Set<string>();
  /** Settled since the last flush: a turn with many reports adds to a row once. */
  #newUsage = new Map<string, UsageRow>();

  constructor(sql: SqlStorage, purse: Purse<P>, rows: AccountRows<P>) {
    this.#sql = sql;
    this.purse = purse;
    this.#rows = rows;
    migrate(sql, MIGRATIONS);
    this.forget();
  }

  /** Drops all that memory holds: after a failed transaction it may be ahead of the rows. */
  forget(): void {
    const [row] = this.#sql.exec<{ record: string }>("SELECT record FROM tenant").toArray();
    this.#record = row ? (JSON.parse(row.record) as TenantRecord) : null;
    this.#accounts.clear();
    this.#reservations.clear();
    this.#blocks.clear();
    this.#dirtyAccounts.clear();
    this.#dirtyReservations.clear();
    this.#dirtyBlocks.clear();
    this.#newUsage.clear();
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

  account(scope: string): P | undefined {
    const cached = this.#accounts.get(scope);
    if (cached) return cached;
    const [row] = this.#sql
      .exec<{ body: string }>("SELECT body FROM accounts WHERE scope = ?", scope)
      .toArray();
    if (!row) return undefined;
    const slots = this.#sql
      .exec<{ slot: number; tokens: number }>(
        "SELECT slot, tokens FROM day_slots WHERE scope = ? ORDER BY slot",
        scope,
      )
      .toArray();
    const { requests } = this.#sql.exec<{ requests: number }>(UNHEARD_OF, scope, scope).one();
    const account = this.#rows.read(row.body, slots, requests);
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

  block(id: string): Block | undefined {
    const cached = this.#blocks.get(id);
    if (cached) return cached;
    const [row] = this.#sql.exec<{ body: string }>("SELECT body FROM blocks WHERE id = ?", id).toArray();
    if (!row) return undefined;
    const block = JSON.parse(row.body) as Block;
    this.#blocks.set(id, block);
    return block;
  }

  /** Takes a block into memory; `flush` writes it. */
  putBlock(block: Block): void {
    this.#blocks.set(block.id, block);
    this.#dirtyBlocks.add(block.id);
  }

  /** Takes a change into memory; `flush` writes it, in the same transaction. */
  apply(change: Change<P>, nowMs: number): void {
    for (const account of change.accounts) this.put(account);
    this.#reservations.set(change.reservation.id, change.reservation);
    this.#dirtyReservations.add(change.reservation.id);
    if (change.block) this.putBlock(change.block);
    addSaved(this.#sql, change, nowMs);
    const { promptTokens, cachedTokens, outputTokens } = change.settled;
    if (promptTokens + outputTokens === 0 && !change.counted) return;
    const { keyId, model } = change.reservation;
    const day = new Date(nowMs).toISOString().slice(0, 10);
    const name = `${day}\n${keyId}\n${model}`;
    const known = this.#newUsage.get(name);
    this.#newUsage.set(name, {
      ...{ day, keyId, model },
      promptTokens: (known?.promptTokens ?? 0) + promptTokens,
      cachedTokens: (known?.cachedTokens ?? 0) + cachedTokens,
      outputTokens: (known?.outputTokens ?? 0) + outputTokens,
      requests: (known?.requests ?? 0) + (change.counted ? 1 : 0),
    });
  }

  /** Takes an account into memory; `flush` writes it. */
  put(account: P): void {
    const before = this.account(account.scope);
    for (const { slot, tokens } of before ? this.#rows.endedSlots(before, account) : []) {
      this.#sql.exec(
        "INSERT OR REPLACE INTO day_slots (scope, slot, tokens) VALUES (?, ?, ?)",
        account.scope,
        slot,
        tokens,
      );
    }
    this.#accounts.set(account.scope, account);
    this.#dirtyAccounts.add(account.scope);
  }

  /** Writes what changed since the last flush, each row once however often it changed. */
  flush(): void {
    for (const scope of this.#dirtyAccounts) {
      const account = this.#accounts.get(scope)!;
      writeAccount(this.#sql, account, this.#rows.write(account));
    }
    for (const id of this.#dirtyReservations) writeReservation(this.#sql, this.#reservations.get(id)!);
    for (const id of this.#dirtyBlocks) writeBlock(this.#sql, this.#blocks.get(id)!);
    this.#dirtyAccounts.clear();
    this.#dirtyReservations.clear();
    this.#dirtyBlocks.clear();
    for (const row of this.#newUsage.values()) addUsage(this.#sql, row);
    this.#newUsage.clear();
    if (this.#blocks.size > CACHED_MAX) this.#blocks.clear();
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

  /** The same for blocks. */
  dueBlocks(nowMs: number, max: number): string[] {
    return this.#sql
      .exec<{ id: string }>(
        "SELECT id FROM blocks WHERE state <> 'over' AND deadline_ms <= ? ORDER BY deadline_ms LIMIT ?",
        nowMs,
        max,
      )
      .toArray()
      .map(({ id }) => id);
  }

  /** The next deadline of an open reservation or a block, or null. */
  nextDeadlineMs(): number | null {
    return this.#sql
      .exec<{ at: number | null }>(
        `SELECT MIN(at) AS at FROM (SELECT MIN(deadline_ms) AS at FROM reservations WHERE state = 'open'
           UNION ALL SELECT MIN(deadline_ms) FROM blocks WHERE state <> 'over')`,
      )
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
    const ended = this.#sql.exec(
      "DELETE FROM blocks WHERE state = 'over' AND created_ms < ?",
      nowMs - RESERVATION_KEPT_MS,
    ).rowsWritten;
    if (ended > 0) this.#blocks.clear();
    this.#sql.exec("DELETE FROM day_slots WHERE slot < ?", slotAt(nowMs) - 2 * 288);
    const oldestDay = new Date(nowMs - USAGE_DAYS_KEPT * 86_400_000).toISOString().slice(0, 10);
    this.#sql.exec("DELETE FROM usage WHERE day < ?", oldestDay);
    this.#sql.exec("DELETE FROM saved WHERE day < ?", oldestDay);
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

  /** Leases that this home has given out; none at a holder. */
  leases(scope?: string): Lease[] {
    return readLeases(this.#sql, scope);
  }

  putLease(lease: Lease): void {
    writeLease(this.#sql, lease);
  }

  saved(): SavedRow[] {
    return savedRows(this.#sql);
  }

  usage(): UsageRow[] {
    return this.#sql
      .exec<UsageSqlRow>("SELECT * FROM usage ORDER BY day DESC, key_id, model LIMIT 10000")
      .toArray()
      .map(usageFrom);
  }

  open(): { reservations: number; running: number; reservedTokens: number } {
    return this.#sql
      .exec<{ reservations: number; running: number; reservedTokens: number }>(
        `SELECT COUNT(*) AS reservations, COALESCE(SUM(running), 0) AS running,
           COALESCE(SUM(held_tokens), 0) + (SELECT COALESCE(SUM(held_tokens), 0) FROM blocks WHERE state <> 'over')
           AS reservedTokens FROM reservations WHERE state = 'open'`,
      )
      .one();
  }
}

const CACHED_MAX = 20_000;
const SWEEP_ROWS = 1_000;
