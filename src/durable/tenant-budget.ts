import { DurableObject } from "cloudflare:workers";
import { DENIAL_CACHE_MS } from "../bounds.ts";
import { type BudgetPlace, locationOf, type TenantRecord } from "../catalogue.ts";
import type { Env } from "../env.ts";
import type { Renewal } from "../limits/lease.ts";
import type {
  BlockAnswer,
  BlockAsk,
  BlockClaim,
  BlockTold,
  BudgetReport,
  HeatTold,
  KeyCheck,
  ReserveAnswer,
  ReserveAsk,
  TenantUsage,
} from "../limits/messages.ts";
import { COLD, heated, type Work } from "../limits/shards.ts";
import { AlarmClock } from "./alarm-clock.ts";
import { HolderBudget } from "./budget/holder-budget.ts";
import { HomeBudget } from "./budget/home-budget.ts";
import {
  type BudgetAddress,
  budgetAddressOf,
  type RenewAnswer,
  registryReader,
  tenantBudget,
} from "./stub.ts";

type Role =
  | { readonly kind: "home"; readonly budget: HomeBudget }
  | { readonly kind: "holder"; readonly budget: HolderBudget };

const TIDY_MIN_GAP_MS = 1_000;

/**
 * All limits of one tenant, checked and drawn in one step. One class, two roles, by where the object lives: the home is
 * the authority and serves its own location; elsewhere, or as a shard, it is a lease holder. Every method is idempotent, since the
 * runtime may call twice.
 */
export class TenantBudget extends DurableObject<Env> {
  readonly #address: BudgetAddress;
  readonly #role: Role;
  readonly #alarm: AlarmClock;
  #heat = COLD;
  #unknownUntilMs = 0;

  constructor(ctx: DurableObjectState, env: Env) {
    super(ctx, env);
    this.#alarm = new AlarmClock(ctx);
    const address = budgetAddressOf(ctx.id.name ?? "");
    this.#address = address;
    const wakeBy = (atMs: number | null) => this.#alarm.wakeBy(atMs);
    const at = (place: BudgetPlace) => tenantBudget(env, { ...address, at: place });
    this.#role =
      address.at === address.homeHint
        ? { kind: "home", budget: new HomeBudget(ctx.storage, address.homeHint, at, wakeBy) }
        : {
            kind: "holder",
            budget: new HolderBudget(ctx.storage, address.at, () => at(address.homeHint), wakeBy),
          };
  }

  get #ledger() {
    return this.#role.budget.ledger;
  }

  /** The registry's word on this tenant: limits, keys, policy. In force from the next call on. */
  async configure(record: TenantRecord): Promise<void> {
    await this.#role.budget.configure(record);
    this.#unknownUntilMs = 0;
  }

  async reserve(ask: ReserveAsk): Promise<ReserveAnswer> {
    if (!(await this.#serves())) return { ok: false, failure: { tag: "invalid_key" }, standing: null };
    const later = (work: Promise<unknown>) => this.#later(work);
    const { answer, deadlineMs } =
      this.#role.kind === "home"
        ? await this.#role.budget.reserve(ask)
        : await this.#role.budget.reserve(ask, later);
    this.#alarm.wakeBy(deadlineMs);
    if (this.#role.kind === "home" && !answer.ok) later(this.#role.budget.recallIfShort());
    // What is refused does not count: near a limit the home decides, however many objects there are.
    return answer.ok ? { ...answer, ...this.#warmed({ asked: 1, drawn: 0 }, ask.from) } : answer;
  }

  /** Usage so far, as gates tell it. Returns the requests that are to be stopped. */
  async report(reports: readonly BudgetReport[]): Promise<{ stop: string[] }> {
    if (!(await this.#serves()) || !this.#ledger.book.known) return { stop: [] };
    const { stop, deadlineMs } =
      this.#role.kind === "home"
        ? await this.#ledger.report(reports)
        : await this.#role.budget.report(reports, (work) => this.#later(work));
    this.#alarm.wakeBy(deadlineMs);
    return { stop };
  }

  /** Whether a key works, for routes that cost nothing; also the models that it may use (null: all). */
  async check(keyId: string, secretHash: string): Promise<KeyCheck> {
    if (!(await this.#serves()) || !this.#ledger.book.known)
      return { ok: false, failure: { tag: "invalid_key" } };
    return this.#ledger.check(keyId, secretHash);
  }

  /** The request no longer runs; its last report is on its way. */
  finish(requestId: string, claim?: BlockClaim): Promise<void> {
    return this.#ledger.finish(requestId, claim);
  }

  /** Two attempts run for the same answer; false: one of them is on the bill already, so there must be no second. */
  race(requestId: string, attempts: readonly number[], claim?: BlockClaim): Promise<boolean> {
    return this.#ledger.race(requestId, attempts, claim);
  }

  /** One of those that race serves and is charged; of the others nothing is. */
  elect(requestId: string, winner: number): Promise<void> {
    return this.#ledger.elect(requestId, winner);
  }

  /** Nothing ran for this request: give everything back. */
  cancel(requestId: string, claim?: BlockClaim): Promise<void> {
    return this.#ledger.cancel(requestId, claim);
  }

  /** Reservations in advance, for an isolate that serves a hot tenant (limits/block.ts). */
  async blocks(ask: BlockAsk | null, told: readonly BlockTold[]): Promise<BlockAnswer> {
    if (!(await this.#serves())) return { ok: false, failure: { tag: "invalid_key" } };
    const { answer, deadlineMs } = await this.#role.budget.blocks(ask, told);
    this.#alarm.wakeBy(deadlineMs);
    if (this.#role.kind === "holder") this.#later(this.#role.budget.renewIfDue());
    const drawn = told.reduce((sum, { requests }) => sum + requests, 0);
    const heat = this.#warmed({ asked: 0, drawn }, ask?.from);
    return answer.ok ? { ...answer, ...heat } : answer;
  }

  /** At the home: what the tenant used everywhere. */
  async usage(): Promise<TenantUsage | null> {
    if (this.#role.kind !== "home" || !(await this.#serves())) return null;
    return this.#role.budget.usage();
  }

  /** At a holder: what was used here. */
  async usageHere(): Promise<Pick<TenantUsage, "byKey" | "saved" | "open">> {
    if (this.#role.kind === "holder") return this.#role.budget.usage();
    return { byKey: [], saved: [], open: { reservations: 0, running: 0, reservedTokens: 0 } };
  }

  /** At the home: a holder accounts for its lease and asks for more. */
  async renew(messages: readonly Renewal[], knownVersion: number): Promise<RenewAnswer> {
    if (this.#role.kind !== "home" || !(await this.#serves())) return { terms: [], record: null };
    const answer = await this.#role.budget.renew(messages, knownVersion);
    this.ctx.waitUntil(this.#role.budget.recallIfShort());
    return answer;
  }

  /** At a holder: others are short. */
  async recall(scope: string, keepTokens: number): Promise<void> {
    if (this.#role.kind === "holder") await this.#role.budget.recall(scope, keepTokens);
  }

  override async alarm(): Promise<void> {
    this.#alarm.rang();
    if (!this.#ledger.book.known) return;
    const next = await this.#role.budget.tidy();
    if (next !== null) this.#alarm.wakeBy(Math.max(next, Date.now() + TIDY_MIN_GAP_MS));
  }

  /**
   * Counts work, and tells isolates of this location how busy the object is. Limits of end users are kept at the home alone,
   * so for their tenants a shard would only pass on what it is asked: nobody is told to look for one.
   */
  #warmed(work: Work, from: BudgetPlace | undefined): { readonly heat?: HeatTold } {
    this.#heat = heated(this.#heat, work, Date.now());
    const { at } = this.#address;
    const { book } = this.#ledger;
    if (from !== locationOf(at)) return {};
    if (book.known && Object.keys(book.record.tenant.endUserLimits).length > 0) return {};
    return { heat: { at, load: this.#heat.load } };
  }

  /** Work that no caller waits for. */
  #later(work: Promise<unknown>): void {
    this.ctx.waitUntil(work.catch(() => undefined));
  }

  /**
   * A fresh home (first use, or moved) asks the registry once; an unknown tenant is remembered briefly. A holder serves
   * at once: it learns the tenant from the home, with its first lease.
   */
  async #serves(): Promise<boolean> {
    if (this.#role.kind === "holder" || this.#ledger.book.known) return true;
    if (Date.now() < this.#unknownUntilMs) return false;
    const record = await registryReader(this.env).tenantRecord(this.#address.tenantRef);
    if (record === null) {
      this.#unknownUntilMs = Date.now() + DENIAL_CACHE_MS;
      return false;
    }
    await this.configure(record);
    return true;
  }
}
