import type { TenantRecord } from "../../src/catalogue.ts";
import { type Account, newAccount } from "../../src/limits/account.ts";
import type { Sizing } from "../../src/limits/block.ts";
import { limitsOf } from "../../src/limits/book.ts";
import { type Demand, demanded, earnsLease, NO_DEMAND, wanted } from "../../src/limits/demand.ts";
import type { LeaseTerms, Renewal } from "../../src/limits/lease.ts";
import { writeOffMs } from "../../src/limits/lease-home.ts";
import type {
  BlockAnswer,
  BlockAsk,
  BlockTold,
  BudgetReport,
  ReserveAnswer,
  ReserveAsk,
} from "../../src/limits/messages.ts";
import { awaitsWord } from "../../src/limits/reservation.ts";
import { isHomeShort } from "../../src/limits/share.ts";
import { LedgerObject } from "./ledger-object.ts";
import { PLACES } from "./tenant.ts";

const RECALL_MIN_GAP_MS = 1_000;

export interface RenewReply {
  readonly terms: readonly LeaseTerms[];
  readonly record: TenantRecord;
}

/** The shell of a home, as production's: the core decides, rows are written, then messages go. */
export class SimHome extends LedgerObject<Account> {
  recall: (holder: string, scope: string, keepTokens: number) => void = () => undefined;
  #demand = new Map<string, Demand>();
  #shortMs = 0;
  #recalledMs = 0;

  override forget(): void {
    this.#demand.clear();
    this.#shortMs = 0;
    this.#recalledMs = 0;
  }

  /**
   * The operator's word. Buckets are brought up to date at the old limits first: at the new ones, a raise would refill
   * for time before it.
   */
  configure(record: TenantRecord): void {
    this.step((nowMs) => {
      const before = this.store.record;
      this.store.configure(record);
      for (const scope of this.store.scopes()) {
        const account = this.store.account(scope)!;
        this.store.put(
          this.protocol.relimit(account, limitsOf(before, scope), limitsOf(record, scope), nowMs),
        );
      }
    });
  }

  reserve(ask: ReserveAsk, reply: (answer: ReserveAnswer) => void): void {
    this.step((nowMs) => {
      const { answer, change } = this.protocol.reserve(this.store, ask, nowMs);
      this.store.apply(change);
      this.wakeBy(change?.reservation.deadlineMs ?? null);
      const demand = demanded(this.#demand.get(ask.from) ?? NO_DEMAND, ask.promptTokens, nowMs);
      this.#demand.set(ask.from, demand);
      if (!answer.ok) {
        const short = isHomeShort(this.store.leases("tenant"), ask.from, nowMs);
        if (answer.failure.tag === "rate_limited" && short) this.#shortMs = nowMs;
        this.#recallIfShort(nowMs);
        this.afterwards(() => reply(answer));
        return;
      }
      const leaseHere = ask.from !== PLACES[0] && earnsLease(demand, nowMs);
      this.afterwards(() => reply({ ...answer, at: PLACES[0]!, leaseHere }));
    });
  }

  report(reports: readonly BudgetReport[], reply: (stop: string[]) => void): void {
    this.step((nowMs) => {
      const stop: string[] = [];
      for (const message of reports) {
        const { change, stop: ends } = this.protocol.report(this.store, message, nowMs);
        this.store.apply(change);
        this.store.words.push({ id: message.requestId, says: "report" });
        if (ends) stop.push(message.requestId);
        const { deadlineMs, state } = change.reservation;
        if (state === "open" && awaitsWord(change.reservation)) this.wakeBy(deadlineMs);
      }
      this.afterwards(() => reply(stop));
    });
  }

  blocks(
    ask: BlockAsk | null,
    told: readonly BlockTold[],
    sizing: Sizing,
    reply: (answer: BlockAnswer) => void,
  ): void {
    this.step((nowMs) => {
      const { answer, deadlineMs } = this.takeBlocks(ask, told, sizing, nowMs);
      this.wakeBy(deadlineMs);
      if (answer.ok) {
        const demand = this.#demand.get(PLACES[0]!) ?? NO_DEMAND;
        this.#demand.set(PLACES[0]!, demanded(demand, answer.tokens, nowMs, answer.requests));
      }
      this.afterwards(() => reply(answer));
    });
  }

  renew(messages: readonly Renewal[], reply: (answer: RenewReply) => void): void {
    this.step((nowMs) => {
      const terms = messages.map((message) => this.#renewOne(message, nowMs));
      this.#recallIfShort(nowMs);
      const { record } = this.store;
      this.afterwards(() => reply({ terms, record }));
    });
  }

  override tidy(nowMs: number): number | null {
    this.expireDue(nowMs);
    const due: number[] = [];
    for (const lease of this.store.leases()) {
      const account = this.store.account(lease.scope);
      const written =
        account && this.protocol.writeOff(account, limitsOf(this.store.record, lease.scope), lease, nowMs);
      if (written) {
        this.store.put(written.account);
        this.store.putLease(written.lease);
        continue;
      }
      const atMs = writeOffMs(lease);
      if (atMs !== null) due.push(atMs);
    }
    this.store.sweep(nowMs);
    const next = this.store.nextDeadlineMs();
    if (next !== null) due.push(next);
    return due.length === 0 ? null : Math.min(...due);
  }

  #renewOne(message: Renewal, nowMs: number): LeaseTerms {
    const { scope, holder } = message;
    const homeRequests = wanted(this.#demand.get(PLACES[0]!) ?? NO_DEMAND, nowMs).requests;
    const limits = limitsOf(this.store.record, scope);
    const account = this.store.account(scope) ?? newAccount(scope, limits, nowMs);
    const leases = this.store.leases(scope);
    const share = this.protocol.shareOf(
      { account, leases, limits, message, homeRequests, homeShortMs: this.#shortMs },
      nowMs,
    );
    const known = this.store.lease(holder, scope);
    const renewed = this.protocol.renew(account, limits, known, message, share, nowMs);
    this.store.put(renewed.account);
    this.store.putLease(renewed.lease);
    this.wakeBy(writeOffMs(renewed.lease));
    return renewed.terms;
  }

  #recallIfShort(nowMs: number): void {
    if (nowMs - this.#recalledMs < RECALL_MIN_GAP_MS) return;
    const account = this.store.account("tenant");
    if (!account) return;
    const leases = this.store.leases("tenant");
    const due = this.protocol.recalls({ account, leases, homeShortMs: this.#shortMs }, nowMs);
    if (due.length === 0) return;
    this.#recalledMs = nowMs;
    for (const { holder, keepTokens } of due) {
      this.afterwards(() => this.recall(holder, "tenant", keepTokens));
    }
  }
}
