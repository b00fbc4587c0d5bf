import { checkKey } from "../../limits/access.ts";
import { type BlockChange, closeBlock, expireBlock, grantBlock } from "../../limits/block.ts";
import type { Book, Change } from "../../limits/book.ts";
import { cancel, expire, finish, report, reserve } from "../../limits/ledger.ts";
import type {
  BlockAnswer,
  BlockAsk,
  BlockClaim,
  BlockTold,
  BudgetReport,
  KeyCheck,
  ReserveAnswer,
  ReserveAsk,
} from "../../limits/messages.ts";
import type { Purse } from "../../limits/purse.ts";
import { elect, race } from "../../limits/race.ts";
import { awaitsWord, type Reservation } from "../../limits/reservation.ts";
import { Tick } from "../tick.ts";
import { type AccountRows, TenantBook } from "./tenant-book.ts";
import type { Scoped } from "./writes.ts";

const EXPIRE_BATCH = 500;

type Settled = (reservation: Reservation, settledTokens: number, nowMs: number) => void;

/** What an admission decided, and when its reservation runs out. */
export interface Admission {
  readonly answer: ReserveAnswer;
  readonly deadlineMs: number | null;
}

/**
 * One tenant's ledger in one place, stored: the part that a home and a lease holder have in common. It reads the clock
 * once per operation, lets the core decide, and writes everything of one turn in one transaction.
 */
export class LedgerShell<P extends Scoped> {
  readonly book: TenantBook<P>;
  readonly #tick: Tick;

  constructor(storage: DurableObjectStorage, purse: Purse<P>, rows: AccountRows<P>) {
    this.book = new TenantBook(storage.sql, purse, rows);
    this.#tick = new Tick(
      (run) =>
        storage.transactionSync(() => {
          run();
          this.book.flush();
        }),
      () => this.book.forget(),
    );
  }

  /** Runs one operation on the book in this turn's transaction. */
  run<Result>(operation: (nowMs: number) => Result): Promise<Result> {
    return this.#tick.run(() => operation(Date.now()));
  }

  /** `purse`: other rules than the book's own, for this admission alone. */
  reserve(ask: ReserveAsk, purse: Purse<P> = this.book.purse): Promise<Admission> {
    const { book } = this;
    return this.run((nowMs) => {
      const seen: Book<P> =
        purse === book.purse
          ? book
          : {
              purse,
              record: book.record,
              account: (scope) => book.account(scope),
              reservation: (id) => book.reservation(id),
              block: (id) => book.block(id),
            };
      const { answer, change } = reserve(seen, ask, nowMs);
      if (change) this.book.apply(change, nowMs);
      return { answer, deadlineMs: change?.reservation.deadlineMs ?? null };
    });
  }

  /**
   * `seen` is told of each reservation after its report, and of the tokens that the report settled. `deadlineMs`: a
   * reservation runs out sooner than it did, or null.
   */
  report(
    reports: readonly BudgetReport[],
    seen?: Settled,
  ): Promise<{ stop: string[]; deadlineMs: number | null }> {
    return this.run((nowMs) => {
      const stop: string[] = [];
      let soonestMs = Infinity;
      for (const message of reports) {
        const before = this.book.reservation(message.requestId)?.settledTokens ?? 0;
        const { change, stop: ends } = report(this.book, message, nowMs);
        this.book.apply(change, nowMs);
        seen?.(change.reservation, change.reservation.settledTokens - before, nowMs);
        if (ends) stop.push(message.requestId);
        const { deadlineMs, state } = change.reservation;
        if (state === "open" && awaitsWord(change.reservation)) soonestMs = Math.min(soonestMs, deadlineMs);
      }
      return { stop, deadlineMs: soonestMs < Infinity ? soonestMs : null };
    });
  }

  /** Takes note of blocks that an isolate is done with, then grants it another one if it asks. */
  blocks(
    ask: BlockAsk | null,
    told: readonly BlockTold[],
  ): Promise<{ answer: BlockAnswer; deadlineMs: number | null }> {
    return this.run((nowMs) => {
      if (!this.book.known) return { answer: { ok: false, failure: null }, deadlineMs: null };
      for (const one of told) this.#applyBlock(closeBlock(this.book, one, nowMs));
      if (ask === null) return { answer: { ok: false, failure: null }, deadlineMs: null };
      const { answer, change } = grantBlock(this.book, ask, nowMs);
      this.#applyBlock(change);
      return { answer, deadlineMs: change?.block.deadlineMs ?? null };
    });
  }

  #applyBlock(change: BlockChange<P> | null): void {
    if (change === null) return;
    for (const account of change.accounts) this.book.put(account);
    this.book.putBlock(change.block);
  }

  finish(requestId: string, claim?: BlockClaim): Promise<void> {
    return this.#change((nowMs) => finish(this.book, requestId, nowMs, claim));
  }

  race(requestId: string, attempts: readonly number[], claim?: BlockClaim): Promise<boolean> {
    return this.run((nowMs) => {
      const change = this.book.known ? race(this.book, requestId, attempts, nowMs, claim) : null;
      if (change) this.book.apply(change, nowMs);
      return change !== null;
    });
  }

  elect(requestId: string, winner: number): Promise<void> {
    return this.#change((nowMs) => elect(this.book, requestId, winner, nowMs));
  }

  cancel(requestId: string, claim?: BlockClaim): Promise<void> {
    return this.#change((nowMs) => cancel(this.book, requestId, nowMs, claim));
  }

  #change(transition: (nowMs: number) => Change<P> | null): Promise<void> {
    return this.run((nowMs) => {
      if (!this.book.known) return;
      const change = transition(nowMs);
      if (change) this.book.apply(change, nowMs);
    });
  }

  check(keyId: string, secretHash: string): KeyCheck {
    return checkKey(this.book.record, keyId, secretHash, Date.now());
  }

  async expireDue(): Promise<void> {
    for (;;) {
      const due = this.book.due(Date.now(), EXPIRE_BATCH);
      const blocks = this.book.dueBlocks(Date.now(), EXPIRE_BATCH);
      if (due.length + blocks.length === 0) return;
      await this.run((nowMs) => {
        for (const id of blocks) this.#applyBlock(expireBlock(this.book, id, nowMs));
        for (const id of due) {
          const change = expire(this.book, id, nowMs);
          if (change) this.book.apply(change, nowMs);
        }
      });
      if (Math.max(due.length, blocks.length) < EXPIRE_BATCH) return;
    }
  }
}
