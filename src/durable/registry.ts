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
  Step,
  Tenant,
  TenantInput,
  TenantPatch,
  TenantRecord,
} from "../catalogue.ts";
import type { Env } from "../env.ts";
import { type KeyClaims, tenantRefOf } from "../keys.ts";
import type { Death, Outcomes, Verdict } from "../routing/messages.ts";
import { sumOf } from "../routing/outcomes.ts";
import { Audit } from "./registry/audit.ts";
import { Controls, type OverrideAsk, ROUTER } from "./registry/controls.ts";
import { Fleet } from "./registry/fleet.ts";
import { KeyChanges } from "./registry/key-changes.ts";
import {
  type Approval,
  type AuditEntry,
  type By,
  type Change,
  type Done,
  missing,
  type Override,
  type OverrideOrProposal,
  ok,
  type Page,
  type PageAsk,
  type Proposal,
  type Result,
} from "./registry/messages.ts";
import { Outbox } from "./registry/outbox.ts";
import { Quarantined, type QuarantineEntry } from "./registry/quarantine.ts";
import { Replies } from "./registry/replies.ts";
import { Rollouts } from "./registry/rollouts.ts";
import { MIGRATIONS } from "./registry/tables.ts";
import { Tenants } from "./registry/tenants.ts";
import { migrate } from "./schema.ts";
import { regionPool, tenantBudget } from "./stub.ts";

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
  readonly #controls: Controls;
  readonly #rollouts: Rollouts;

  constructor(ctx: DurableObjectState, env: Env) {
    super(ctx, env);
    const { sql } = ctx.storage;
    migrate(sql, MIGRATIONS);
    this.#audit = new Audit(sql);
    this.#outbox = new Outbox(sql, (address, record) => tenantBudget(env, address).configure(record));
    this.#replies = new Replies(sql);
    this.#tenants = new Tenants(sql, this.#audit, this.#outbox);
    this.#keys = new KeyChanges(this.#tenants, this.#audit);
    this.#quarantined = new Quarantined(sql, this.#audit);
    this.#controls = new Controls(sql, this.#audit);
    this.#fleet = new Fleet(sql, this.#audit, this.#controls);
    this.#rollouts = new Rollouts(this.#fleet, (pool, model, sinceMs) =>
      outcomesAt(env, pool, model, sinceMs),
    );
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

  // --- Steps of the ladder, and rollouts
  async overrideStep(by: By, model: string, ask: OverrideAsk): Promise<Change<OverrideOrProposal>> {
    return this.#change(by, (nowMs) => {
      const known = this.#fleet.models.get(model);
      return known ? this.#controls.override(by, nowMs, known, ask) : missing(`model '${model}'`);
    });
  }
  async clearStep(by: By, model: string, step: Step): Promise<Change<null>> {
    return this.#change(by, (nowMs) => this.#controls.clear(by, nowMs, model, step));
  }
  async listOverrides(model: string): Promise<Override[]> {
    return this.#controls.overrides().filter((override) => override.model === model);
  }
  async propose(by: By, proposal: Proposal): Promise<Change<Approval>> {
    return this.#change(by, (nowMs) => {
      const known = this.#fleet.models.get(proposal.model);
      return known
        ? this.#controls.propose(by, nowMs, known, proposal)
        : missing(`model '${proposal.model}'`);
    });
  }
  async approve(by: By, id: string, forMs: number): Promise<Change<Approval>> {
    return this.#change(by, (nowMs) => this.#controls.approve(by, nowMs, id, forMs));
  }
  async reject(by: By, id: string): Promise<Change<Approval>> {
    return this.#change(by, (nowMs) => this.#controls.reject(by, nowMs, id));
  }
  async listApprovals(ask: PageAsk): Promise<Page<Approval>> {
    return this.#controls.approvals(ask);
  }
  async rollBack(by: By, model: string): Promise<Change<Model[]>> {
    return this.#change(by, (nowMs) => this.#rollouts.rollBack(by, nowMs, model));
  }

  // --- Audit
  async listAudit(ask: PageAsk): Promise<Page<AuditEntry>> {
    return this.#audit.page(ask);
  }

  override async alarm(): Promise<void> {
    const nowMs = Date.now();
    const by: By = { actor: ROUTER, requestId: crypto.randomUUID() };
    this.ctx.storage.transactionSync(() => this.#controls.expire(by, nowMs));
    const parcels = this.#outbox.due(nowMs);
    const isLook = (this.#rollouts.nextLookMs() ?? Infinity) <= nowMs;
    const [held] = await Promise.all([
      isLook ? this.#rollouts.look(nowMs) : [],
      ...parcels.map((parcel) => this.#outbox.deliver(parcel, Date.now)),
    ]);
    this.ctx.storage.transactionSync(() => {
      for (const { id, hold } of held) this.#rollouts.hold(by, nowMs, id, hold);
    });
    this.#schedule();
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
    this.#schedule();
    const { value, push } = made.value;
    const parcel = push ? this.#outbox.find(push) : null;
    const inForce = parcel === null || (await this.#outbox.deliver(parcel, Date.now));
    if (!inForce) this.#schedule();
    return { ok: true, value, inForce };
  }

  /** One alarm for all that is due some time: deliveries, ends of approvals and overrides, looks at rollouts. */
  #schedule(): void {
    const due = [this.#outbox.nextDueAtMs(), this.#controls.nextEndMs(), this.#rollouts.nextLookMs()];
    const next = Math.min(...due.map((atMs) => atMs ?? Infinity));
    if (Number.isFinite(next)) this.ctx.storage.setAlarm(next);
  }
}

/** Over all cells of a pool; the first one knows how many there are. */
async function outcomesAt(env: Env, pool: Pool, model: string, sinceMs: number): Promise<Outcomes> {
  const at = (cell: number) => regionPool(env, pool.id, pool.hint, model, cell);
  const { cells = 1 } = await at(0).state();
  return sumOf(await Promise.all(Array.from({ length: cells }, (_, cell) => at(cell).outcomes(sinceMs))));
}
