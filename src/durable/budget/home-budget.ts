import { OBJECT_CALL_TIMEOUT_MS } from "../../bounds.ts";
import type { BudgetPlace, LocationHint, TenantRecord } from "../../catalogue.ts";
import { withDeadline } from "../../deadline.ts";
import { type Account, isFresh, newAccount, relimit, settleTime } from "../../limits/account.ts";
import { limitsOf, scopesOf } from "../../limits/book.ts";
import { type Demand, demanded, earnsLease, NO_DEMAND, wanted } from "../../limits/demand.ts";
import type { LeaseTerms, Renewal } from "../../limits/lease.ts";
import { outstanding, renew, writeOff, writeOffMs } from "../../limits/lease-home.ts";
import type { BlockAsk, BlockTold, ReserveAsk, TenantUsage, UsageRow } from "../../limits/messages.ts";
import { HOME_PURSE } from "../../limits/purse.ts";
import { isHomeShort, recalls, shareOf } from "../../limits/share.ts";
import { limitState } from "../../limits/standing.ts";
import type { RenewAnswer, TenantBudgetStub } from "../stub.ts";
import { HOME_ROWS } from "./account-rows.ts";
import { type Admission, LedgerShell } from "./ledger-shell.ts";
import { summedSaved } from "./saved.ts";

const SWEEP_USERS = 500;
const RECALL_MIN_GAP_MS = 1_000;

/** How the home reaches a holder. */
export type HolderAt = (place: BudgetPlace) => TenantBudgetStub;

/** The authority on a tenant's budget: who asks it draws on it directly, others on leases that it gives. */
export class HomeBudget {
  readonly ledger: LedgerShell<Account>;
  readonly #hint: LocationHint;
  readonly #holderAt: HolderAt;
  /** Demand by location, in memory: it only decides who is worth a lease. */
  readonly #demand = new Map<string, Demand>();
  /** Demand at the home's own location by scope, in memory: its claim on the rate that nobody uses. */
  readonly #own = new Map<string, Demand>();
  /** When the home last had to refuse for want of tokens. */
  #shortMs = 0;
  #recalledMs = 0;

  readonly #wakeBy: (atMs: number | null) => void;

  constructor(
    storage: DurableObjectStorage,
    hint: LocationHint,
    holderAt: HolderAt,
    wakeBy: (atMs: number | null) => void,
  ) {
    this.ledger = new LedgerShell(storage, HOME_PURSE, HOME_ROWS);
    this.#hint = hint;
    this.#holderAt = holderAt;
    this.#wakeBy = wakeBy;
  }

  /**
   * The registry's word. Buckets are brought up to date at the old limits first: at the new ones, a raise would refill
   * for time before it.
   */
  configure(record: TenantRecord): Promise<void> {
    const { book } = this.ledger;
    return this.ledger.run((nowMs) => {
      const before = book.known ? book.record : null;
      book.configure(record);
      if (before === null || book.record === before) return;
      for (const scope of book.scopes()) {
        const account = book.account(scope);
        if (account) book.put(relimit(account, limitsOf(before, scope), limitsOf(record, scope), nowMs));
      }
    });
  }

  async reserve(ask: ReserveAsk): Promise<Admission> {
    const result = await this.ledger.reserve({ ...ask, ownLeasedTokens: this.#leasedTo(ask.from) });
    const nowMs = Date.now();
    const demand = demanded(this.#demand.get(ask.from) ?? NO_DEMAND, ask.promptTokens, nowMs);
    this.#demand.set(ask.from, demand);
    this.#note(ask.from, ask.keyId, ask.promptTokens, 1, nowMs);
    const { answer } = result;
    if (!answer.ok) {
      const { book } = this.ledger;
      const short =
        answer.failure.tag === "rate_limited" && isHomeShort(book.leases("tenant"), ask.from, nowMs);
      if (short) this.#shortMs = nowMs;
      return result;
    }
    const leaseHere = ask.from !== this.#hint && earnsLease(demand, nowMs);
    return { ...result, answer: { ...answer, at: this.#hint, leaseHere } };
  }

  #leasedTo(place: BudgetPlace): number {
    if (place === this.#hint) return 0;
    const own = this.ledger.book.leases("tenant").find(({ holder }) => holder === place);
    return own === undefined ? 0 : outstanding(own).tokens;
  }

  /** Reservations in advance for an isolate at this location. */
  async blocks(ask: BlockAsk | null, told: readonly BlockTold[]) {
    const result = await this.ledger.blocks(ask, told);
    const { answer } = result;
    if (ask !== null && answer.ok) {
      this.#note(this.#hint, ask.keyId, answer.tokens, answer.requests, Date.now());
    }
    return result;
  }

  #note(from: string, keyId: string, tokens: number, requests: number, nowMs: number): void {
    const { book } = this.ledger;
    const key = book.known ? book.record.keys.find(({ id }) => id === keyId) : undefined;
    if (from !== this.#hint || key === undefined) return;
    for (const scope of scopesOf(book.record, key, null)) {
      this.#own.set(scope, demanded(this.#own.get(scope) ?? NO_DEMAND, tokens, nowMs, requests));
    }
  }

  /** A holder accounts for its lease and asks for more. */
  async renew(messages: readonly Renewal[], knownVersion: number): Promise<RenewAnswer> {
    return this.ledger.run((nowMs) => {
      const { book } = this.ledger;
      const terms = messages.map((message): LeaseTerms => {
        const limits = limitsOf(book.record, message.scope);
        const account = book.account(message.scope) ?? newAccount(message.scope, limits, nowMs);
        const leases = book.leases(message.scope);
        const known = leases.find(({ holder }) => holder === message.holder);
        const homeRequests = wanted(this.#own.get(message.scope) ?? NO_DEMAND, nowMs).requests;
        const share = shareOf(
          { account, leases, limits, message, homeRequests, homeShortMs: this.#shortMs },
          nowMs,
        );
        const renewed = renew(account, limits, known, message, share, nowMs);
        book.put(renewed.account);
        book.putLease(renewed.lease);
        this.#wakeBy(writeOffMs(renewed.lease));
        return renewed.terms;
      });
      const { record } = book;
      return { terms, record: record.tenant.version > knownVersion ? record : null };
    });
  }

  /** Asks holders to give back what others are short of. */
  async recallIfShort(): Promise<void> {
    const nowMs = Date.now();
    if (nowMs - this.#recalledMs < RECALL_MIN_GAP_MS || !this.ledger.book.known) return;
    const { book } = this.ledger;
    const account = book.account("tenant");
    if (!account) return;
    const due = recalls({ account, leases: book.leases("tenant"), homeShortMs: this.#shortMs }, nowMs);
    if (due.length === 0) return;
    this.#recalledMs = nowMs;
    await Promise.allSettled(
      due.map(({ holder, keepTokens }) =>
        withDeadline(
          this.#holderAt(holder as BudgetPlace).recall("tenant", keepTokens),
          OBJECT_CALL_TIMEOUT_MS,
        ),
      ),
    );
  }

  async usage(): Promise<TenantUsage> {
    const { book } = this.ledger;
    await this.ledger.expireDue();
    const nowMs = Date.now();
    const holders = [...new Set(book.leases().map(({ holder }) => holder as BudgetPlace))];
    const elsewhere = await Promise.all(
      holders.map((holder) => withDeadline(this.#holderAt(holder).usageHere(), OBJECT_CALL_TIMEOUT_MS)),
    );
    const here = { byKey: book.usage(), saved: book.saved(), open: book.open() };
    const all = [here, ...elsewhere];
    const open = { reservations: 0, running: 0, reservedTokens: 0 };
    for (const part of all) {
      open.reservations += part.open.reservations;
      open.running += part.open.running;
      open.reservedTokens += part.open.reservedTokens;
    }
    const limits = [...new Set(["tenant", ...book.scopes()])].map((scope) => {
      const scopeLimits = limitsOf(book.record, scope);
      const account = book.account(scope) ?? newAccount(scope, scopeLimits, nowMs);
      return limitState(settleTime(account, scopeLimits, nowMs), scopeLimits);
    });
    const saved = summedSaved(all.flatMap((part) => part.saved));
    return { ...summed(all.flatMap(({ byKey }) => byKey)), saved, open, limits };
  }

  /** What time brings: reservations that ran out, holders that fell silent, rows that nobody needs. */
  async tidy(): Promise<number | null> {
    await this.ledger.expireDue();
    const { book } = this.ledger;
    return this.ledger.run((nowMs) => {
      for (const scope of book.userScopes(SWEEP_USERS)) {
        const account = book.account(scope);
        const limits = limitsOf(book.record, scope);
        if (account && isFresh(settleTime(account, limits, nowMs), limits, nowMs)) book.remove(scope);
      }
      for (const lease of book.leases()) {
        const limits = limitsOf(book.record, lease.scope);
        const account = book.account(lease.scope);
        const written = account && writeOff(account, limits, lease, nowMs);
        if (written) {
          book.put(written.account);
          book.putLease(written.lease);
        } else {
          this.#wakeBy(writeOffMs(lease));
        }
      }
      return book.sweep(nowMs) ? nowMs + 1_000 : book.nextDeadlineMs();
    });
  }
}

function summed(rows: readonly UsageRow[]): Pick<TenantUsage, "totals" | "byKey"> {
  const totals = { promptTokens: 0, cachedTokens: 0, outputTokens: 0, requests: 0 };
  const byKey = new Map<string, UsageRow>();
  for (const row of rows) {
    totals.promptTokens += row.promptTokens;
    totals.cachedTokens += row.cachedTokens;
    totals.outputTokens += row.outputTokens;
    totals.requests += row.requests;
    const name = `${row.day}\n${row.keyId}\n${row.model}`;
    const known = byKey.get(name);
    byKey.set(name, known ? added(known, row) : row);
  }
  return { totals, byKey: [...byKey.values()] };
}

function added(one: UsageRow, other: UsageRow): UsageRow {
  return {
    ...one,
    promptTokens: one.promptTokens + other.promptTokens,
    cachedTokens: one.cachedTokens + other.cachedTokens,
    outputTokens: one.outputTokens + other.outputTokens,
    requests: one.requests + other.requests,
  };
}
