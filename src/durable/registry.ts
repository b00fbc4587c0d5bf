import { DurableObject } from "cloudflare:workers";
import type {
  ApiKey,
  Catalogue,
  KeyInput,
  Model,
  ModelInput,
  ModelPatch,
  Pool,
  PoolInput,
  PoolPatch,
  Tenant,
  TenantInput,
  TenantPatch,
  TenantRecord,
} from "../catalogue.ts";
import type { Env } from "../env.ts";
import { type KeyClaims, tenantRefOf } from "../keys.ts";
import type { Death, Verdict } from "../routing/messages.ts";
import { Audit } from "./registry/audit.ts";
import { Fleet } from "./registry/fleet.ts";
import { KeyChanges } from "./registry/key-changes.ts";
import {
  type AuditEntry,
  type By,
  type Change,
  type Done,
  missing,
  ok,
  type Page,
  type PageAsk,
  type Result,
} from "./registry/messages.ts";
import { Outbox } from "./registry/outbox.ts";
import { Quarantined, type QuarantineEntry } from "./registry/quarantine.ts";
import { Replies } from "./registry/replies.ts";
import { MIGRATIONS } from "./registry/tables.ts";
import { Tenants } from "./registry/tenants.ts";
import { migrate } from "./schema.ts";
import { tenantBudget } from "./stub.ts";

/**
 * The control plane's memory: tenants, keys, models, pools, who changed what. One per deployment, and never on the
 * path of a request: directories fetch its catalogue, budget objects are told of their tenant.
 * A change, its audit entry and the message that it causes are one transaction.
 */
export class Registry extends DurableObject<Env> {
  readonly #audit: Audit;
  readonly #outbox: Outbox;
  readonly #replies: Replies;
  readonly #tenants: Tenants;
  readonly #keys: KeyChanges;
  readonly #fleet: Fleet;
  readonly #quarantined: Quarantined;

  constructor(ctx: DurableObjectState, env: Env) {
    super(ctx, env);
    const { sql } = ctx.storage;
    migrate(sql, MIGRATIONS);
    this.#audit = new Audit(sql);
    this.#outbox = new Outbox(sql, (address, record) => tenantBudget(env, address).configure(record));
    this.#replies = new Replies(sql);
    this.#tenants = new Tenants(sql, this.#audit, this.#outbox);
    this.#keys = new KeyChanges(this.#tenants, this.#audit);
    this.#fleet = new Fleet(sql, this.#audit);
    this.#quarantined = new Quarantined(sql, this.#audit);
  }

  // --- Tenants and keys
  async createTenant(by: By, input: TenantInput): Promise<Change<Tenant>> {
    const ref = await tenantRefOf(input.id);
    return this.#change(by, (nowMs) => this.#tenants.create(by, nowMs, input, ref));
  }
  async getTenant(id: string): Promise<Result<Tenant>> {
    return this.#tenants.at(id, null);
  }
  async listTenants(ask: PageAsk): Promise<Page<Tenant>> {
    return this.#tenants.documents.page(ask);
  }
  async updateTenant(by: By, id: string, version: number, patch: TenantPatch): Promise<Change<Tenant>> {
    return this.#change(by, (nowMs) => this.#tenants.update(by, nowMs, id, version, patch));
  }
  async removeTenant(by: By, id: string, version: number | null): Promise<Change<null>> {
    return this.#change(by, (nowMs) => this.#tenants.remove(by, nowMs, id, version));
  }
  async createKey(by: By, tenantId: string, input: KeyInput, claims: KeyClaims): Promise<Change<ApiKey>> {
    return this.#change(by, (nowMs) => this.#keys.create(by, nowMs, tenantId, input, claims));
  }
  async listKeys(tenantId: string, ask: PageAsk): Promise<Result<Page<ApiKey>>> {
    const found = this.#tenants.at(tenantId, null);
    return found.ok ? ok(this.#tenants.keys.page(tenantId, ask)) : found;
  }
  async revokeKey(by: By, tenantId: string, keyId: string): Promise<Change<null>> {
    return this.#change(by, (nowMs) => this.#keys.revoke(by, nowMs, tenantId, keyId));
  }
  async rotateKey(
    by: By,
    tenantId: string,
    keyId: string,
    overlapMs: number,
    claims: KeyClaims,
  ): Promise<Change<ApiKey>> {
    return this.#change(by, (nowMs) => this.#keys.rotate(by, nowMs, tenantId, keyId, overlapMs, claims));
  }
  /** For a budget object that has no record yet, or lost it. */
  async tenantRecord(tenantRef: string): Promise<TenantRecord | null> {
    return this.#tenants.record(tenantRef);
  }

  // --- Models and pools
  async createModel(by: By, input: ModelInput): Promise<Change<Model>> {
    return this.#change(by, (nowMs) => this.#fleet.createModel(by, nowMs, input));
  }
  async getModel(id: string): Promise<Result<Model>> {
    const model = this.#fleet.models.get(id);
    return model ? ok(model) : missing(`model '${id}'`);
  }
  async listModels(ask: PageAsk): Promise<Page<Model>> {
    return this.#fleet.models.page(ask);
  }
  async updateModel(by: By, id: string, version: number, patch: ModelPatch): Promise<Change<Model>> {
    return this.#change(by, (nowMs) => this.#fleet.updateModel(by, nowMs, id, version, patch));
  }
  async removeModel(by: By, id: string, version: number | null): Promise<Change<null>> {
    return this.#change(by, (nowMs) => this.#fleet.removeModel(by, nowMs, id, version));
  }
  async createPool(by: By, input: PoolInput): Promise<Change<Pool>> {
    return this.#change(by, (nowMs) => this.#fleet.createPool(by, nowMs, input));
  }
  async getPool(id: string): Promise<Result<Pool>> {
    const pool = this.#fleet.pools.get(id);
    return pool ? ok(pool) : missing(`pool '${id}'`);
  }
  async listPools(ask: PageAsk): Promise<Page<Pool>> {
    return this.#fleet.pools.page(ask);
  }
  async updatePool(by: By, id: string, version: number, patch: PoolPatch): Promise<Change<Pool>> {
    return this.#change(by, (nowMs) => this.#fleet.updatePool(by, nowMs, id, version, patch));
  }
  async rotatePoolSecret(by: By, id: string): Promise<Change<Pool>> {
    return this.#change(by, (nowMs) => this.#fleet.rotateSecret(by, nowMs, id));
  }
  async endPoolRotation(by: By, id: string): Promise<Change<Pool>> {
    return this.#change(by, (nowMs) => this.#fleet.endRotation(by, nowMs, id));
  }
  async removePool(by: By, id: string, version: number | null): Promise<Change<null>> {
    return this.#change(by, (nowMs) => this.#fleet.removePool(by, nowMs, id, version));
  }
  /** Writes down what an operator orders of a breaker; the pool's object is told by the caller. */
  async recordOverride(
    by: By,
    pool: string,
    model: string,
    before: object | null,
    after: object,
  ): Promise<Change<null>> {
    return this.#change(by, (nowMs) =>
      this.#fleet.recordOverride(by, nowMs, `${pool}/${model}`, before, after),
    );
  }
  /** Models and pools, or null when the caller has them already. */
  async catalogue(knownVersion: number): Promise<Catalogue | null> {
    const catalogue = this.#fleet.catalogue(knownVersion);
    const quarantine = catalogue === null ? undefined : this.#quarantined.snapshot(Date.now());
    return catalogue === null || quarantine === undefined ? catalogue : { ...catalogue, quarantine };
  }

  // --- Quarantine
  async died(deaths: readonly Death[], completed: readonly string[]): Promise<Verdict> {
    return this.ctx.storage.transactionSync(() => this.#quarantined.died(deaths, completed, Date.now()));
  }
  async listQuarantine(ask: PageAsk): Promise<Page<QuarantineEntry>> {
    return this.#quarantined.page(ask, Date.now());
  }
  async releaseQuarantine(by: By, fingerprint: string): Promise<Change<null>> {
    return this.#change(by, (nowMs) => this.#quarantined.release(by, nowMs, fingerprint));
  }

  // --- Audit
  async listAudit(ask: PageAsk): Promise<Page<AuditEntry>> {
    return this.#audit.page(ask);
  }

  override async alarm(): Promise<void> {
    const parcels = this.#outbox.due(Date.now());
    await Promise.all(parcels.map((parcel) => this.#outbox.deliver(parcel, Date.now)));
    this.#scheduleDelivery();
  }

  /** Makes a change once, however often it is asked for, and tells the budget object that it concerns. */
  async #change<T>(by: By, make: (nowMs: number) => Result<Done<T>>): Promise<Change<T>> {
    const nowMs = Date.now();
    const made = this.ctx.storage.transactionSync((): Result<Done<T>> => {
      const earlier = this.#replies.find<T>(by.requestId);
      if (earlier) return ok(earlier);
      const result = make(nowMs);
      if (result.ok) this.#replies.keep(by.requestId, result.value, nowMs);
      return result;
    });
    if (!made.ok) return made;
    // No await since the transaction: the alarm that outlives a crash is committed together with the change.
    this.#scheduleDelivery();
    const { value, push } = made.value;
    const parcel = push ? this.#outbox.find(push) : null;
    const inForce = parcel === null || (await this.#outbox.deliver(parcel, Date.now));
    if (!inForce) this.#scheduleDelivery();
    return { ok: true, value, inForce };
  }

  /** The alarm serves the outbox alone, so the earliest due delivery is its time. */
  #scheduleDelivery(): void {
    const dueAtMs = this.#outbox.nextDueAtMs();
    if (dueAtMs !== null) this.ctx.storage.setAlarm(dueAtMs);
  }
}
