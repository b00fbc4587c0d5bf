import { FIRST_STEP_TOKENS, LEASE_TTL_MS, OBJECT_CALL_TIMEOUT_MS } from "../../src/bounds.ts";
import { type BudgetPlace, locationOf } from "../../src/catalogue.ts";
import type { Sizing } from "../../src/limits/block.ts";
import type { Book } from "../../src/limits/book.ts";
import { type Demand, demanded, extended, NO_DEMAND, wanted } from "../../src/limits/demand.ts";
import { isNone, type Quantity, type Renewal } from "../../src/limits/lease.ts";
import { free, isClosed, type LeaseAccount, newLease } from "../../src/limits/lease-holder.ts";
import type {
  BlockAnswer,
  BlockAsk,
  BlockTold,
  BudgetReport,
  ReserveAnswer,
  ReserveAsk,
} from "../../src/limits/messages.ts";
import type { RenewReply } from "./home.ts";
import { LedgerObject } from "./ledger-object.ts";
import { KEY_ID } from "./tenant.ts";

/** How a holder reaches its home, and time. */
export interface HomeLink {
  after(delayMs: number, run: () => void): void;
  reserve(ask: ReserveAsk, reply: (answer: ReserveAnswer) => void): void;
  renew(messages: readonly Renewal[], reply: (answer: RenewReply) => void): void;
}

/** The shell of a lease holder, as production's. */
export class SimHolder extends LedgerObject<LeaseAccount> {
  home!: HomeLink;
  readonly place: BudgetPlace;
  #demand = new Map<string, Demand>();
  #renewingUntilMs = 0;
  /** Answers to a call that an earlier life of this object made go nowhere. */
  #life = 0;

  constructor(place: BudgetPlace, ...object: ConstructorParameters<typeof LedgerObject<LeaseAccount>>) {
    super(...object);
    this.place = place;
  }

  override forget(): void {
    this.#demand.clear();
    this.#renewingUntilMs = 0;
    this.#life += 1;
  }

  reserve(ask: ReserveAsk, reply: (answer: ReserveAnswer, forwarded: boolean) => void): void {
    this.step((nowMs) => {
      this.#note(ask, nowMs);
      const { answer, change } = this.protocol.reserve(this.store, ask, nowMs);
      this.store.apply(change);
      this.wakeBy(change?.reservation.deadlineMs ?? null);
      if (answer.ok || answer.failure.tag !== "budget_unavailable") {
        if (this.#renewalDue(nowMs)) this.#renew(nowMs);
        const here = answer.ok ? { ...answer, at: this.place, leaseHere: true } : answer;
        this.afterwards(() => reply(here, false));
        return;
      }
      this.#renew(nowMs);
      let decided = false;
      const decide = (answered: ReserveAnswer) => {
        if (decided) return;
        decided = true;
        reply(answered, true);
      };
      const life = this.#life;
      this.afterwards(() => {
        this.home.reserve({ ...ask, from: this.place }, decide);
        const first = this.place === locationOf(this.place);
        const allowanceTokens = first ? this.store.record.tenant.softAllowanceTokens : 0;
        if (allowanceTokens === 0) return;
        this.home.after(OBJECT_CALL_TIMEOUT_MS / 2, () => {
          if (decided || life !== this.#life) return;
          decided = true;
          this.#onTrust(ask, allowanceTokens, reply);
        });
      });
    });
  }

  /** The home is out of reach. */
  #onTrust(
    ask: ReserveAsk,
    allowanceTokens: number,
    reply: (answer: ReserveAnswer, forwarded: boolean) => void,
  ): void {
    this.step((nowMs) => {
      const { store } = this;
      const seen: Book<LeaseAccount> = {
        record: store.record,
        purse: this.protocol.softPurse(allowanceTokens),
        account: (scope) => store.account(scope),
        reservation: (id) => store.reservation(id),
        block: (id) => store.block(id),
      };
      const { answer, change } = this.protocol.reserve(seen, ask, nowMs);
      store.apply(change);
      if (change) store.onTrust.add(ask.requestId);
      this.wakeBy(change?.reservation.deadlineMs ?? null);
      const here = answer.ok ? { ...answer, at: this.place, leaseHere: true, mode: "soft" as const } : answer;
      this.afterwards(() => reply(here, false));
    });
  }

  report(reports: readonly BudgetReport[], reply: (stop: string[]) => void): void {
    this.step((nowMs) => {
      const stop: string[] = [];
      for (const message of reports) {
        const before = this.store.reservation(message.requestId)?.settledTokens ?? 0;
        const { change, stop: ends } = this.protocol.report(this.store, message, nowMs);
        this.store.apply(change);
        this.store.words.push({ id: message.requestId, says: "report" });
        const { scopes, settledTokens, state } = change.reservation;
        for (const scope of state === "open" ? scopes : []) {
          const demand = this.#demand.get(scope) ?? NO_DEMAND;
          this.#demand.set(scope, extended(demand, settledTokens - before, nowMs));
        }
        if (ends) stop.push(message.requestId);
      }
      this.wakeBy(this.store.nextDeadlineMs());
      if (this.#renewalDue(nowMs)) this.#renew(nowMs);
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
      for (const scope of answer.ok ? this.#drawnScopes() : []) {
        const demand = this.#demand.get(scope) ?? NO_DEMAND;
        if (answer.ok) this.#demand.set(scope, demanded(demand, answer.tokens, nowMs, answer.requests));
      }
      if (this.#renewalDue(nowMs)) this.#renew(nowMs);
      this.afterwards(() => reply(answer));
    });
  }

  recalled(scope: string, keepTokens: number): void {
    this.step((nowMs) => {
      this.store.put(this.protocol.giveBack(this.#lease(scope, nowMs), keepTokens));
      this.#renew(nowMs);
    });
  }

  override tidy(nowMs: number): number | null {
    this.expireDue(nowMs);
    let open = false;
    for (const scope of this.#scopes()) {
      const lease = this.#lease(scope, nowMs);
      const idle = isNone(this.#wanted(scope, nowMs));
      if (idle) this.store.put(this.protocol.giveBackAll(lease));
      open ||= !idle || !isClosed(this.#lease(scope, nowMs));
    }
    this.store.sweep(nowMs);
    if (open) this.#renew(nowMs);
    return open ? nowMs + LEASE_TTL_MS / 2 : this.store.nextDeadlineMs();
  }

  /** Accounts for the leases at home and asks for what is wanted; one at a time, a lost one is made good by the next. */
  #renew(nowMs: number): void {
    if (nowMs < this.#renewingUntilMs && this.#renewingUntilMs <= nowMs + OBJECT_CALL_TIMEOUT_MS) return;
    this.#renewingUntilMs = nowMs + OBJECT_CALL_TIMEOUT_MS;
    const messages = this.#scopes().map((scope) => {
      const want = this.#wanted(scope, nowMs);
      const renewed = this.protocol.renewal(this.#lease(scope, nowMs), this.place, want);
      this.store.put(renewed.account);
      return renewed.message;
    });
    const life = this.#life;
    this.wakeBy(nowMs + LEASE_TTL_MS / 2);
    this.afterwards(() =>
      this.home.renew(messages, (answer) => {
        if (life === this.#life) this.#take(answer, nowMs);
      }),
    );
  }

  #take(answer: RenewReply, sentAtMs: number): void {
    this.step((nowMs) => {
      this.#renewingUntilMs = 0;
      this.store.configure(answer.record);
      for (const terms of answer.terms) {
        this.store.put(this.protocol.takeTerms(this.#lease(terms.scope, nowMs), terms, sentAtMs, nowMs));
      }
      this.wakeBy(nowMs + LEASE_TTL_MS / 2);
    });
  }

  #note(ask: ReserveAsk, nowMs: number): void {
    for (const scope of this.#drawnScopes()) {
      const tokens = ask.promptTokens + FIRST_STEP_TOKENS;
      this.#demand.set(scope, demanded(this.#demand.get(scope) ?? NO_DEMAND, tokens, nowMs));
    }
  }

  #drawnScopes(): string[] {
    const keyIsLimited = Object.keys(this.store.record.keys[0]!.limits).length > 0;
    return ["tenant", ...(keyIsLimited ? [`key:${KEY_ID}`] : [])];
  }

  #wanted(scope: string, nowMs: number): Quantity {
    return wanted(this.#demand.get(scope) ?? NO_DEMAND, nowMs);
  }

  #scopes(): string[] {
    return [...new Set([...this.#demand.keys(), ...this.store.scopes()])];
  }

  #lease(scope: string, nowMs: number): LeaseAccount {
    const lease = this.store.account(scope) ?? newLease(scope, nowMs);
    return this.protocol.leasePurse.at(lease, {}, nowMs);
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
