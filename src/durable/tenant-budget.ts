import { DurableObject } from "cloudflare:workers";
import { DENIAL_CACHE_MS } from "../bounds.ts";
import type { TenantRecord } from "../catalogue.ts";
import type { Env } from "../env.ts";
import { type Account, isFresh, newAccount, settleTime } from "../limits/account.ts";
import {
  type Change,
  cancel,
  checkKey,
  expire,
  finish,
  limitsOf,
  report,
  reserve,
} from "../limits/ledger.ts";
import type { BudgetReport, KeyCheck, ReserveAnswer, ReserveAsk, TenantUsage } from "../limits/messages.ts";
import { HOME_PURSE } from "../limits/purse.ts";
import { limitState } from "../limits/standing.ts";
import { HOME_ROWS } from "./account-rows.ts";
import { registryReader } from "./stub.ts";
import { TenantBook } from "./tenant-book.ts";
import { Tick } from "./tick.ts";

/**
 * All limits of one tenant, checked and drawn in one step. A shell: it reads the clock once per call, lets the pure
 * core (src/limits) decide, and writes rows. Every method is idempotent, since the runtime may call twice.
 */
export class TenantBudget extends DurableObject<Env> {
  readonly #book: TenantBook<Account>;
  readonly #tick: Tick;
  /** When the alarm is set for; null: not known or none. It only ever moves earlier. */
  #alarmAtMs: number | null = null;
  #unknownUntilMs = 0;

  constructor(ctx: DurableObjectState, env: Env) {
    super(ctx, env);
    this.#book = new TenantBook(ctx.storage.sql, HOME_PURSE, HOME_ROWS);
    this.#tick = new Tick(
      (run) =>
        ctx.storage.transactionSync(() => {
          run();
          this.#book.flush();
        }),
      () => this.#book.forget(),
    );
  }

  /** The registry's word on this tenant: limits, keys, policy. In force from the next call on. */
  async configure(record: TenantRecord): Promise<void> {
    await this.#tick.run(() => this.#book.configure(record));
    this.#unknownUntilMs = 0;
  }

  async reserve(ask: ReserveAsk): Promise<ReserveAnswer> {
    if (!(await this.#hasRecord())) return { ok: false, failure: { tag: "invalid_key" }, standing: null };
    const answer = await this.#tick.run(() => {
      const nowMs = Date.now();
      const decision = reserve(this.#book, ask, nowMs);
      if (decision.change) {
        this.#book.apply(decision.change, nowMs);
        this.#wakeBy(decision.change.reservation.deadlineMs);
      }
      return decision.answer;
    });
    return answer;
  }

  /** Usage so far, as gates tell it. Returns the requests that are to be stopped. */
  async report(reports: readonly BudgetReport[]): Promise<{ stop: string[] }> {
    if (!(await this.#hasRecord())) return { stop: [] };
    return this.#tick.run(() => {
      const nowMs = Date.now();
      const stop: string[] = [];
      for (const message of reports) {
        const { change, stop: ends } = report(this.#book, message, nowMs);
        this.#book.apply(change, nowMs);
        if (ends) stop.push(message.requestId);
      }
      return { stop };
    });
  }

  /** Whether a key works, for routes that cost nothing; also the models that it may use (null: all). */
  async check(keyId: string, secretHash: string): Promise<KeyCheck> {
    if (!(await this.#hasRecord())) return { ok: false, failure: { tag: "invalid_key" } };
    return checkKey(this.#book.record, keyId, secretHash, Date.now());
  }

  /** The request no longer runs; its last report is on its way. */
  finish(requestId: string): Promise<void> {
    return this.#change((nowMs) => finish(this.#book, requestId, nowMs));
  }

  /** Nothing ran for this request: give everything back. */
  cancel(requestId: string): Promise<void> {
    return this.#change((nowMs) => cancel(this.#book, requestId, nowMs));
  }

  async usage(): Promise<TenantUsage | null> {
    if (!(await this.#hasRecord())) return null;
    const nowMs = Date.now();
    await this.#expireDue(nowMs);
    const byKey = this.#book.usage();
    const totals = { promptTokens: 0, cachedTokens: 0, outputTokens: 0, requests: 0 };
    for (const row of byKey) {
      totals.promptTokens += row.promptTokens;
      totals.cachedTokens += row.cachedTokens;
      totals.outputTokens += row.outputTokens;
      totals.requests += row.requests;
    }
    const limits = [...new Set(["tenant", ...this.#book.scopes()])].map((scope) => {
      const scopeLimits = limitsOf(this.#book.record, scope);
      const account = this.#book.account(scope) ?? newAccount(scope, scopeLimits, nowMs);
      return limitState(settleTime(account, scopeLimits, nowMs), scopeLimits);
    });
    return { totals, byKey, open: this.#book.open(), limits };
  }

  override async alarm(): Promise<void> {
    this.#alarmAtMs = null;
    if (!this.#book.known) return;
    const nowMs = Date.now();
    await this.#expireDue(nowMs);
    const more = await this.#tick.run(() => {
      for (const scope of this.#book.userScopes(SWEEP_USERS)) {
        const account = this.#book.account(scope);
        const limits = limitsOf(this.#book.record, scope);
        if (account && isFresh(settleTime(account, limits, nowMs), limits, nowMs)) this.#book.remove(scope);
      }
      return this.#book.sweep(nowMs);
    });
    const next = more ? nowMs + 1_000 : this.#book.nextDeadlineMs();
    if (next !== null) this.#wakeBy(Math.max(next, nowMs + 1_000));
  }

  #change(transition: (nowMs: number) => Change<Account> | null): Promise<void> {
    return this.#tick.run(() => {
      if (!this.#book.known) return;
      const nowMs = Date.now();
      const change = transition(nowMs);
      if (change) this.#book.apply(change, nowMs);
    });
  }

  async #expireDue(nowMs: number): Promise<void> {
    for (;;) {
      const due = this.#book.due(nowMs, EXPIRE_BATCH);
      if (due.length === 0) return;
      await this.#tick.run(() => {
        for (const id of due) {
          const change = expire(this.#book, id, nowMs);
          if (change) this.#book.apply(change, nowMs);
        }
      });
      if (due.length < EXPIRE_BATCH) return;
    }
  }

  /** `setAlarm` costs a row each time, so it is called only when the alarm must come sooner. */
  #wakeBy(atMs: number): void {
    if (this.#alarmAtMs !== null && this.#alarmAtMs <= atMs) return;
    this.#alarmAtMs = atMs;
    this.ctx.waitUntil(
      (async () => {
        const set = await this.ctx.storage.getAlarm();
        if (set === null || set > atMs) await this.ctx.storage.setAlarm(atMs);
        else this.#alarmAtMs = set;
      })(),
    );
  }

  /** A fresh object (first use, or moved) asks the registry once; an unknown tenant is remembered briefly. */
  async #hasRecord(): Promise<boolean> {
    if (this.#book.known) return true;
    if (Date.now() < this.#unknownUntilMs) return false;
    const tenantRef = this.ctx.id.name?.split("/")[0];
    const record = tenantRef ? await registryReader(this.env).tenantRecord(tenantRef) : null;
    if (record === null) {
      this.#unknownUntilMs = Date.now() + DENIAL_CACHE_MS;
      return false;
    }
    await this.configure(record);
    return true;
  }
}

const EXPIRE_BATCH = 500;
const SWEEP_USERS = 500;
