import { RESERVATION_KEPT_MS } from "../../src/bounds.ts";
import type { TenantRecord } from "../../src/catalogue.ts";
import type { Block, BlockChange } from "../../src/limits/block.ts";
import type { Book, Change } from "../../src/limits/book.ts";
import type { Lease } from "../../src/limits/lease-home.ts";
import type { Purse } from "../../src/limits/purse.ts";
import type { Reservation } from "../../src/limits/reservation.ts";
import type { Word } from "./ghost-race.ts";
import type { Protocol } from "./protocol.ts";

/** Usage that one transaction settled, for the ghost to check. */
export interface Settled {
  readonly id: string;
  readonly scopes: readonly string[];
  readonly tokens: number;
}

/**
 * The rows of one object and one transaction over them: all that survives a crash or an eviction. A row is JSON, so what
 * JSON forgets is forgotten here as well.
 */
export class Store<P extends { readonly scope: string }> implements Book<P> {
  readonly purse: Purse<P>;
  readonly open = new Set<string>();
  /** Blocks that are not over. */
  readonly live = new Set<string>();
  /** Of the transaction that is under way. */
  settled: Settled[] = [];
  readonly touched = new Set<string>();
  readonly touchedBlocks = new Set<string>();
  /** Reservations of the transaction under way that rest on the tenant's soft allowance. */
  readonly onTrust = new Set<string>();
  /** Requests that the transaction under way counts in the usage table. */
  counted: string[] = [];
  /** What the transaction under way was told of requests. */
  words: Word[] = [];
  readonly #shell: Protocol["shell"];
  #accounts = new Map<string, P>();
  #reservations = new Map<string, Reservation>();
  #leases = new Map<string, Lease>();
  #blocks = new Map<string, Block>();
  #record: TenantRecord;
  #newRecord: TenantRecord | null = null;
  #newAccounts = new Map<string, P>();
  #newReservations = new Map<string, Reservation>();
  #newLeases = new Map<string, Lease>();
  #newBlocks = new Map<string, Block>();
  /** What a broken shell would keep in memory only. */
  #unwritten = new Map<string, P>();
  rowsWritten = 0;

  constructor(record: TenantRecord, purse: Purse<P>, shell: Protocol["shell"]) {
    this.#record = record;
    this.purse = purse;
    this.#shell = shell;
  }

  get record(): TenantRecord {
    return this.#newRecord ?? this.#record;
  }

  /** Takes a record unless a newer one is here: deliveries may come late and out of order. */
  configure(record: TenantRecord): void {
    if (record.tenant.version > this.record.tenant.version) this.#newRecord = record;
  }

  account(scope: string): P | undefined {
    return this.#newAccounts.get(scope) ?? this.#unwritten.get(scope) ?? this.#accounts.get(scope);
  }

  reservation(id: string): Reservation | undefined {
    return this.#newReservations.get(id) ?? this.#reservations.get(id);
  }

  block(id: string): Block | undefined {
    return this.#newBlocks.get(id) ?? this.#blocks.get(id);
  }

  lease(holder: string, scope: string): Lease | undefined {
    const name = `${holder} ${scope}`;
    return this.#newLeases.get(name) ?? this.#leases.get(name);
  }

  leases(scope?: string): Lease[] {
    const all = [...new Map([...this.#leases, ...this.#newLeases]).values()];
    return scope === undefined ? all : all.filter((lease) => lease.scope === scope);
  }

  scopes(): string[] {
    return [...new Set([...this.#accounts.keys(), ...this.#newAccounts.keys(), ...this.#unwritten.keys()])];
  }

  apply(change: Change<P> | null): void {
    if (change === null) return;
    for (const account of change.accounts) this.put(account);
    const { id, scopes, settledTokens } = change.reservation;
    const tokens = settledTokens - (this.reservation(id)?.settledTokens ?? 0);
    this.#newReservations.set(id, change.reservation);
    this.touched.add(id);
    if (change.counted) this.counted.push(id);
    if (tokens !== 0) this.settled.push({ id, scopes, tokens });
    if (change.block) this.#putBlock(change.block);
  }

  applyBlock(change: BlockChange<P> | null): void {
    if (change === null) return;
    for (const account of change.accounts) this.put(account);
    this.#putBlock(change.block);
  }

  #putBlock(block: Block): void {
    this.#newBlocks.set(block.id, block);
    this.touchedBlocks.add(block.id);
  }

  put(account: P): void {
    this.#newAccounts.set(account.scope, account);
  }

  putLease(lease: Lease): void {
    this.#newLeases.set(`${lease.holder} ${lease.scope}`, lease);
  }

  commit(): void {
    const accounts = this.#shell.writesAccounts ? this.#accounts : this.#unwritten;
    for (const [scope, account] of this.#newAccounts) accounts.set(scope, account);
    for (const [id, reservation] of this.#newReservations) {
      this.#reservations.set(id, reservation);
      if (reservation.state === "open") this.open.add(id);
      else this.open.delete(id);
    }
    for (const [name, lease] of this.#newLeases) this.#leases.set(name, lease);
    for (const [id, block] of this.#newBlocks) {
      this.#blocks.set(id, block);
      if (block.state === "over") this.live.delete(id);
      else this.live.add(id);
    }
    this.#record = this.record;
    const rows = [this.#newAccounts, this.#newReservations, this.#newLeases, this.#newBlocks];
    this.rowsWritten += rows.reduce((sum, { size }) => sum + size, 0);
    this.abort();
  }

  abort(): void {
    this.#newRecord = null;
    this.#newAccounts.clear();
    this.#newReservations.clear();
    this.#newLeases.clear();
    this.#newBlocks.clear();
    this.settled = [];
    this.touched.clear();
    this.touchedBlocks.clear();
    this.onTrust.clear();
    this.words = [];
    this.counted = [];
  }

  /** Memory is gone; everything is read from its rows again. */
  forget(): void {
    this.abort();
    this.#unwritten.clear();
    for (const [scope, account] of this.#accounts) {
      this.#accounts.set(scope, JSON.parse(JSON.stringify(account)) as P);
    }
    if (this.#shell.writesRaces) return;
    for (const [id, reservation] of this.#reservations) {
      const attempts = reservation.attempts.map(({ racing: _, lost: __, ...attempt }) => attempt);
      this.#reservations.set(id, { ...reservation, attempts });
    }
  }

  /** The same rows in an object of their own. */
  copy(): Store<P> {
    const twin = new Store(this.record, this.purse, { ...this.#shell, writesAccounts: true });
    twin.#accounts = new Map(this.#accounts);
    twin.#reservations = new Map(this.#reservations);
    twin.#leases = new Map(this.#leases);
    twin.#blocks = new Map(this.#blocks);
    for (const id of this.open) twin.open.add(id);
    for (const id of this.live) twin.live.add(id);
    return twin;
  }

  due(nowMs: number): string[] {
    return [...this.open].filter((id) => this.#reservations.get(id)!.deadlineMs <= nowMs);
  }

  dueBlocks(nowMs: number): string[] {
    return [...this.live].filter((id) => this.#blocks.get(id)!.deadlineMs <= nowMs);
  }

  nextDeadlineMs(): number | null {
    let next: number | null = null;
    for (const id of this.live) {
      const { deadlineMs } = this.#blocks.get(id)!;
      if (next === null || deadlineMs < next) next = deadlineMs;
    }
    for (const id of this.open) {
      const { deadlineMs } = this.#reservations.get(id)!;
      if (next === null || deadlineMs < next) next = deadlineMs;
    }
    return next;
  }

  sweep(nowMs: number): void {
    for (const [id, { state, createdAtMs }] of this.#reservations) {
      if (state !== "open" && createdAtMs < nowMs - RESERVATION_KEPT_MS) this.#reservations.delete(id);
    }
    for (const [id, { state, createdAtMs }] of this.#blocks) {
      if (state === "over" && createdAtMs < nowMs - RESERVATION_KEPT_MS) this.#blocks.delete(id);
    }
  }
}
