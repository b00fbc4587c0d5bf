import { FIRST_STEP_TOKENS, LEASE_TTL_MS, OBJECT_CALL_TIMEOUT_MS } from "../../bounds.ts";
import { EVEN_WEIGHTS, type LocationHint } from "../../catalogue.ts";
import { withDeadline } from "../../deadline.ts";
import { type Demand, demanded, NO_DEMAND, wanted } from "../../limits/demand.ts";
import { NONE, type Quantity } from "../../limits/lease.ts";
import {
  free,
  giveBack,
  giveBackAll,
  type LeaseAccount,
  newLease,
  renewal,
  takeTerms,
} from "../../limits/lease-holder.ts";
import type { ReserveAsk, TenantUsage } from "../../limits/messages.ts";
import { LEASE_PURSE, softPurse } from "../../limits/purse.ts";
import { weighted } from "../../limits/weights.ts";
import type { TenantBudgetStub } from "../stub.ts";
import { LEASE_ROWS } from "./account-rows.ts";
import { type Admission, LedgerShell } from "./ledger-shell.ts";

/** Shorter than the edge waits, so that a home out of reach is noticed here. */
const HOME_TIMEOUT_MS = OBJECT_CALL_TIMEOUT_MS / 2;

/** A location that spends a lease of a tenant whose home is elsewhere. */
export class HolderBudget {
  readonly ledger: LedgerShell<LeaseAccount>;
  readonly #hint: LocationHint;
  readonly #home: () => TenantBudgetStub;
  /** Demand by scope, in memory: it only sizes the lease. */
  readonly #demand = new Map<string, Demand>();
  #renewing = false;

  constructor(storage: DurableObjectStorage, hint: LocationHint, home: () => TenantBudgetStub) {
    this.ledger = new LedgerShell(storage, LEASE_PURSE, LEASE_ROWS);
    this.#hint = hint;
    this.#home = home;
  }

  /** Draws on the lease; what it does not cover the home decides. `later` takes work that need not be waited for. */
  async reserve(ask: ReserveAsk, later: (work: Promise<unknown>) => void): Promise<Admission> {
    const nowMs = Date.now();
    this.#note(ask, nowMs);
    if (this.ledger.book.known) {
      const admission = this.#here(await this.ledger.reserve(ask), "lease");
      const { answer } = admission;
      if (answer.ok || answer.failure.tag !== "budget_unavailable") {
        if (this.#renewalDue(nowMs)) later(this.renew());
        return admission;
      }
    }
    later(this.renew());
    try {
      return { answer: await withDeadline(this.#home().reserve(ask), HOME_TIMEOUT_MS), deadlineMs: null };
    } catch (error) {
      return this.#onTrust(ask, error);
    }
  }

  /** The home is out of reach: a tenant may allow some tokens on trust; otherwise nothing unproven is admitted. */
  async #onTrust(ask: ReserveAsk, error: unknown): Promise<Admission> {
    const { book } = this.ledger;
    const allowanceTokens = book.known ? book.record.tenant.softAllowanceTokens : 0;
    if (allowanceTokens === 0) throw error;
    return this.#here(await this.ledger.reserve(ask, softPurse(allowanceTokens)), "soft");
  }

  #here(admission: Admission, mode: "lease" | "soft"): Admission {
    const { answer } = admission;
    return answer.ok
      ? { ...admission, answer: { ...answer, at: this.#hint, leaseHere: true, mode } }
      : admission;
  }

  /** Accounts for the lease at home and takes the new terms. Once at a time; a lost one is made good by the next. */
  async renew(): Promise<void> {
    if (this.#renewing) return;
    this.#renewing = true;
    try {
      const sentAtMs = Date.now();
      const messages = await this.ledger.run((nowMs) =>
        this.#scopes().map((scope) => {
          const account = this.#lease(scope, nowMs);
          const { account: after, message } = renewal(account, this.#hint, this.#wanted(scope, nowMs));
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

  async usage(): Promise<Pick<TenantUsage, "byKey" | "open">> {
    await this.ledger.expireDue();
    const { book } = this.ledger;
    return { byKey: book.usage(), open: book.open() };
  }

  /** What time brings. An idle location gives everything back; returns when to look again. */
  async tidy(): Promise<number | null> {
    const { book } = this.ledger;
    await this.ledger.expireDue();
    const nowMs = Date.now();
    await this.ledger.run((atMs) => {
      for (const scope of this.#scopes()) {
        if (this.#wanted(scope, atMs).requests === 0) book.put(giveBackAll(this.#lease(scope, atMs)));
      }
      book.sweep(atMs);
    });
    const holds = this.#scopes().some((scope) => {
      const { tokens, requests, slots } = book.account(scope) ? outstandingHere(book.account(scope)!) : NONE;
      return tokens + requests + slots > 0;
    });
    // Told to the home also when nothing is left to tell: the last word may have been lost.
    await this.renew().catch(() => undefined);
    return holds ? nowMs + LEASE_TTL_MS / 2 : book.nextDeadlineMs();
  }

  #note(ask: ReserveAsk, nowMs: number): void {
    for (const scope of ["tenant", ...(this.#keyIsLimited(ask.keyId) ? [`key:${ask.keyId}`] : [])]) {
      const output = ask.generates ? FIRST_STEP_TOKENS * ask.choices : 0;
      const tokens = weighted(ask.promptTokens, output, ask.weights ?? EVEN_WEIGHTS);
      this.#demand.set(scope, demanded(this.#demand.get(scope) ?? NO_DEMAND, tokens, nowMs));
    }
  }

  #keyIsLimited(keyId: string): boolean {
    const { book } = this.ledger;
    const key = book.known ? book.record.keys.find(({ id }) => id === keyId) : undefined;
    return key !== undefined && Object.keys(key.limits).length > 0;
  }

  #wanted(scope: string, nowMs: number): Quantity {
    return wanted(this.#demand.get(scope) ?? NO_DEMAND, nowMs);
  }

  #scopes(): string[] {
    return [...new Set([...this.#demand.keys(), ...this.ledger.book.scopes()])];
  }

  #lease(scope: string, nowMs: number): LeaseAccount {
    return this.ledger.book.account(scope) ?? newLease(scope, nowMs);
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

function outstandingHere({ granted, settled, returned }: LeaseAccount): Quantity {
  return {
    tokens: granted.tokens - settled.tokens - returned.tokens,
    requests: granted.requests - settled.requests - returned.requests,
    slots: granted.slots - returned.slots,
  };
}
