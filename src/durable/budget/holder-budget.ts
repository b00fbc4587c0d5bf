import { FIRST_STEP_TOKENS, LEASE_TTL_MS, OBJECT_CALL_TIMEOUT_MS } from "../../bounds.ts";
import { type BudgetPlace, EVEN_WEIGHTS, locationOf, type TenantRecord } from "../../catalogue.ts";
import { withDeadline } from "../../deadline.ts";
import { isStrict } from "../../limits/access.ts";
import { scopesOf } from "../../limits/book.ts";
import { type Demand, demanded, extended, NO_DEMAND, wanted } from "../../limits/demand.ts";
import { isNone, type Quantity } from "../../limits/lease.ts";
import {
  free,
  giveBack,
  giveBackAll,
  isClosed,
  type LeaseAccount,
  leaseTime,
  newLease,
  renewal,
  takeTerms,
} from "../../limits/lease-holder.ts";
import type { BlockAsk, BlockTold, BudgetReport, ReserveAsk, TenantUsage } from "../../limits/messages.ts";
import { LEASE_PURSE, softPurse } from "../../limits/purse.ts";
import { weighted } from "../../limits/weights.ts";
import type { TenantBudgetStub } from "../stub.ts";
import { LEASE_ROWS } from "./account-rows.ts";
import { type Admission, LedgerShell } from "./ledger-shell.ts";

/** Shorter than the edge waits, so that a home out of reach is noticed here. */
const HOME_TIMEOUT_MS = OBJECT_CALL_TIMEOUT_MS / 2;

/** One that spends a lease of a tenant whose home is another object: elsewhere, or beside it. */
export class HolderBudget {
  readonly ledger: LedgerShell<LeaseAccount>;
  readonly #place: BudgetPlace;
  readonly #home: () => TenantBudgetStub;
  /** Demand by scope, in memory: it only sizes the lease. */
  readonly #demand = new Map<string, Demand>();
  #renewing = false;

  readonly #wakeBy: (atMs: number | null) => void;

  constructor(
    storage: DurableObjectStorage,
    place: BudgetPlace,
    home: () => TenantBudgetStub,
    wakeBy: (atMs: number | null) => void,
  ) {
    this.ledger = new LedgerShell(storage, LEASE_PURSE, LEASE_ROWS);
    this.#place = place;
    this.#home = home;
    this.#wakeBy = wakeBy;
  }

  /** The home's word on the tenant; leases carry limits of their own. */
  configure(record: TenantRecord): Promise<void> {
    return this.ledger.run(() => this.ledger.book.configure(record));
  }

  /**
   * Usage so far. Running streams are demand too: a few long ones would otherwise let their lease end as idle, and policy
   * `stop` would cut them.
   */
  async report(
    reports: readonly BudgetReport[],
    later: (work: Promise<unknown>) => void,
  ): ReturnType<LedgerShell<LeaseAccount>["report"]> {
    const { book } = this.ledger;
    const answer = await this.ledger.report(reports, (reservation, settledTokens, nowMs) => {
      for (const scope of reservation.state === "open" ? reservation.scopes : []) {
        this.#demand.set(scope, extended(this.#demand.get(scope) ?? NO_DEMAND, settledTokens, nowMs));
      }
    });
    this.#wakeBy(book.nextDeadlineMs());
    if (this.#renewalDue(Date.now())) later(this.renew());
    return answer;
  }

  /** Draws on the lease; what it does not cover the home decides. `later` takes work that need not be waited for. */
  async reserve(ask: ReserveAsk, later: (work: Promise<unknown>) => void): Promise<Admission> {
    const nowMs = Date.now();
    this.#note(ask, nowMs);
    const { book } = this.ledger;
    // How much there is in all only the home knows.
    if (book.known && !isStrict(book.record, ask)) {
      const admission = this.#here(await this.ledger.reserve(ask), "lease");
      const { answer } = admission;
      if (answer.ok || answer.failure.tag !== "budget_unavailable") {
        if (this.#renewalDue(nowMs)) later(this.renew());
        return admission;
      }
    }
    later(this.renew());
    // In its own name, so that the home knows whose lease was short.
    const passedOn = this.#home().reserve({ ...ask, from: this.#place });
    try {
      return { answer: await withDeadline(passedOn, HOME_TIMEOUT_MS), deadlineMs: null };
    } catch (error) {
      return this.#onTrust(ask, error);
    }
  }

  /** Reservations in advance for an isolate at this location. What they hold is demand like any other. */
  async blocks(ask: BlockAsk | null, told: readonly BlockTold[]) {
    const result = await this.ledger.blocks(ask, told);
    const { answer } = result;
    if (ask === null || !answer.ok) return result;
    const nowMs = Date.now();
    for (const scope of this.#scopesOf(ask.keyId)) {
      const demand = this.#demand.get(scope) ?? NO_DEMAND;
      this.#demand.set(scope, demanded(demand, answer.tokens, nowMs, answer.requests));
    }
    return result;
  }

  async renewIfDue(): Promise<void> {
    if (this.#renewalDue(Date.now())) await this.renew();
  }

  /**
   * The home is out of reach: a tenant may allow some tokens on trust, once per location, so its first object gives them;
   * otherwise nothing unproven is admitted.
   */
  async #onTrust(ask: ReserveAsk, error: unknown): Promise<Admission> {
    const { book } = this.ledger;
    const first = this.#place === locationOf(this.#place);
    const allowanceTokens = first && book.known ? book.record.tenant.softAllowanceTokens : 0;
    if (allowanceTokens === 0) throw error;
    return this.#here(await this.ledger.reserve(ask, softPurse(allowanceTokens)), "soft");
  }

  #here(admission: Admission, mode: "lease" | "soft"): Admission {
    const { answer } = admission;
    return answer.ok
      ? { ...admission, answer: { ...answer, at: this.#place, leaseHere: true, mode } }
      : admission;
  }

  /** Accounts for the lease at home and takes the new terms. Once at a time; a lost one is made good by the next. */
  async renew(): Promise<void> {
    if (this.#renewing) return;
    this.#renewing = true;
    this.#wakeBy(Date.now() + LEASE_TTL_MS / 2);
    try {
      const sentAtMs = Date.now();
      const messages = await this.ledger.run((nowMs) =>
        this.#scopes().map((scope) => {
          const account = this.#lease(scope, nowMs);
          const { account: after, message } = renewal(account, this.#place, this.#wanted(scope, nowMs));
          this.ledger.book.put(after);
          return message;
        }),
      );
      const { book } = this.ledger;
      const version = book.known ? book.record.tenant.version : -1;
      const answer = await withDeadline(this.#home().renew(messages, version), OBJECT_CALL_TIMEOUT_MS);
      await this.ledger.run((nowMs) => {
        if (answer.record) book.configure(answer.record);
        for (const terms of answer.terms)
          book.put(takeTerms(this.#lease(terms.scope, nowMs), terms, sentAtMs, nowMs));
      });
    } finally {
      this.#renewing = false;
    }
  }

  /** Others are short: gives back what is free above `keepTokens`, and tells the home at once. */
  async recall(scope: string, keepTokens: number): Promise<void> {
    await this.ledger.run((nowMs) => this.ledger.book.put(giveBack(this.#lease(scope, nowMs), keepTokens)));
    await this.renew();
  }

  async usage(): Promise<Pick<TenantUsage, "byKey" | "saved" | "open">> {
    await this.ledger.expireDue();
    const { book } = this.ledger;
    return { byKey: book.usage(), saved: book.saved(), open: book.open() };
  }

  /**
   * What time brings. An idle location gives everything back and goes on telling so until the home has heard it: one lost
   * last word would leave the lease open until it is written off. Returns when to look again.
   */
  async tidy(): Promise<number | null> {
    await this.ledger.expireDue();
    const { book } = this.ledger;
    const open = await this.ledger.run((nowMs) => {
      let some = false;
      for (const scope of this.#scopes()) {
        const idle = isNone(this.#wanted(scope, nowMs));
        if (idle) book.put(giveBackAll(this.#lease(scope, nowMs)));
        some ||= !idle || !isClosed(this.#lease(scope, nowMs));
      }
      book.sweep(nowMs);
      return some;
    });
    if (open) await this.renew().catch(() => undefined);
    return open ? Date.now() + LEASE_TTL_MS / 2 : book.nextDeadlineMs();
  }

  #note(ask: ReserveAsk, nowMs: number): void {
    for (const scope of this.#scopesOf(ask.keyId)) {
      const output = ask.generates ? FIRST_STEP_TOKENS * ask.choices : 0;
      const tokens = weighted(ask.promptTokens, output, ask.weights ?? EVEN_WEIGHTS);
      this.#demand.set(scope, demanded(this.#demand.get(scope) ?? NO_DEMAND, tokens, nowMs));
    }
  }

  #scopesOf(keyId: string): string[] {
    const { book } = this.ledger;
    const key = book.known ? book.record.keys.find(({ id }) => id === keyId) : undefined;
    return key === undefined ? ["tenant"] : scopesOf(book.record, key, null);
  }

  #wanted(scope: string, nowMs: number): Quantity {
    return wanted(this.#demand.get(scope) ?? NO_DEMAND, nowMs);
  }

  #scopes(): string[] {
    return [...new Set([...this.#demand.keys(), ...this.ledger.book.scopes()])];
  }

  #lease(scope: string, nowMs: number): LeaseAccount {
    return leaseTime(this.ledger.book.account(scope) ?? newLease(scope, nowMs), nowMs);
  }

  /** Half of the time or half of the tokens are gone. */
  #renewalDue(nowMs: number): boolean {
    return [...this.#demand.keys()].some((scope) => {
      const lease = this.#lease(scope, nowMs);
      const want = this.#wanted(scope, nowMs);
      return lease.deadlineMs - nowMs < LEASE_TTL_MS / 2 || free(lease).tokens * 2 < want.tokens;
    });
  }
}
