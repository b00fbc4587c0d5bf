import { APPROVAL_DEFAULT_MS, APPROVALS_KEPT_MS, CONTROLS_MAX, PROPOSAL_OPEN_MS } from "../../bounds.ts";
import type { Control, Model, Step } from "../../catalogue.ts";
import { needsApproval } from "../../routing/degrade.ts";
import type { Audit } from "./audit.ts";
import { nextNumber, pageOf } from "./documents.ts";
import {
  type Approval,
  type By,
  type Done,
  missing,
  type Override,
  type OverrideOrProposal,
  ok,
  type Page,
  type PageAsk,
  type Proposal,
  type Result,
  refused,
} from "./messages.ts";

/** Who does what time does. */
export const ROUTER: string = "meridian";

export interface OverrideAsk {
  readonly step: Step;
  readonly mode: "force" | "forbid";
  readonly reason: string;
  readonly untilMs: number | null;
}

/**
 * What humans decide about steps of the ladder: overrides, which are in force at once, and approvals, which two must
 * agree on. Both travel in the catalogue; every change gives it a new version, so it is in force within ten seconds.
 *
 *   proposed ──approve (by another)──▶ approved ──▶ expired
 *      │  └──reject──▶ rejected ◀──reject──┘
 *      └──▶ expired
 */
export class Controls {
  readonly #sql: SqlStorage;
  readonly #audit: Audit;

  constructor(sql: SqlStorage, audit: Audit) {
    this.#sql = sql;
    this.#audit = audit;
  }

  /** As the catalogue carries them. Those whose time is over are gone with the next alarm. */
  inForce(): Control[] {
    const approved = this.#approvals("SELECT document FROM approvals WHERE state = 'approved'");
    return [...this.overrides(), ...approved].map(({ model, step, mode, untilMs }) => {
      return { model, step, mode, untilMs };
    });
  }

  overrides(): Override[] {
    const rows = this.#sql.exec<{ document: string }>("SELECT document FROM overrides ORDER BY model, step");
    return rows.toArray().map(({ document }) => JSON.parse(document) as Override);
  }

  /** Newest first. */
  approvals({ cursor, limit }: PageAsk): Page<Approval> {
    const query = "SELECT document FROM approvals WHERE id < ? ORDER BY id DESC LIMIT ?";
    return pageOf(this.#approvals(query, cursor ?? "~", limit + 1), limit, ({ id }) => id);
  }

  /** Forcing a step that needs approval needs it too: it becomes a proposal. Forbidding never does. */
  override(by: By, nowMs: number, model: Model, ask: OverrideAsk): Result<Done<OverrideOrProposal>> {
    const { step, mode, reason, untilMs } = ask;
    if (mode === "force" && needsApproval(model, step)) {
      const proposed = this.propose(by, nowMs, model, { model: model.id, step, mode, reason });
      if (!proposed.ok) return proposed;
      return ok({ value: { kind: "proposal", approval: proposed.value.value }, push: null });
    }
    const before = this.#override(model.id, step);
    if (before === null && this.inForce().length >= CONTROLS_MAX) return full();
    const override: Override = {
      ...{ model: model.id, step, mode, untilMs, reason },
      ...{ by: by.actor, atMs: nowMs },
    };
    const query = "INSERT OR REPLACE INTO overrides (model, step, document) VALUES (?, ?, ?)";
    this.#sql.exec(query, model.id, step, JSON.stringify(override));
    this.#changed(by, nowMs, "override.set", `models/${model.id}/degrade/${step}`, before, override);
    return ok({ value: { kind: "override", override }, push: null });
  }

  clear(by: By, nowMs: number, model: string, step: Step): Result<Done<null>> {
    const before = this.#override(model, step);
    if (before === null) return missing(`override of '${step}' for '${model}'`);
    this.#drop(before);
    this.#changed(by, nowMs, "override.clear", `models/${model}/degrade/${step}`, before, null);
    return ok({ value: null, push: null });
  }

  /** One at a time for each step: who proposes it again gets the one that there is. */
  propose(by: By, nowMs: number, model: Model, proposal: Proposal): Result<Done<Approval>> {
    const { step, mode } = proposal;
    if (!needsApproval(model, step)) {
      return refused({ tag: "conflict", detail: `The step '${step}' of '${model.id}' needs no approval.` });
    }
    const query = "SELECT document FROM approvals WHERE state IN ('proposed', 'approved') AND until_ms > ?";
    const open = this.#approvals(query, nowMs);
    const same = open.find((one) => one.model === model.id && one.step === step && one.mode === mode);
    if (same) return ok({ value: same, push: null });
    if (open.length >= CONTROLS_MAX) return full();
    const number = nextNumber(this.#sql, "approvals");
    const approval: Approval = {
      // Of one width, so that ids sort by age.
      id: `apr_${String(number).padStart(9, "0")}`,
      ...proposal,
      state: "proposed",
      ...{ proposedBy: by.actor, proposedAtMs: nowMs, decidedBy: null, decidedAtMs: null },
      untilMs: nowMs + PROPOSAL_OPEN_MS,
    };
    this.#put(by, nowMs, "approval.propose", null, approval);
    return ok({ value: approval, push: null });
  }

  /** @param forMs how long it will hold */
  approve(by: By, nowMs: number, id: string, forMs = APPROVAL_DEFAULT_MS): Result<Done<Approval>> {
    const before = this.#approval(id);
    if (before === null) return missing(`approval '${id}'`);
    if (before.state !== "proposed" || before.untilMs <= nowMs) return decided(before);
    if (before.proposedBy === by.actor) {
      return refused({
        tag: "conflict",
        detail: "Whoever proposed it cannot approve it: somebody else has to.",
      });
    }
    const after: Approval = {
      ...before,
      ...{ state: "approved", decidedBy: by.actor, decidedAtMs: nowMs, untilMs: nowMs + forMs },
    };
    this.#put(by, nowMs, "approval.approve", before, after);
    return ok({ value: after, push: null });
  }

  /** Says no to a proposal, takes one's own back, or ends an approval that is in force. */
  reject(by: By, nowMs: number, id: string): Result<Done<Approval>> {
    const before = this.#approval(id);
    if (before === null) return missing(`approval '${id}'`);
    if (before.state === "rejected") return ok({ value: before, push: null });
    if (before.state === "expired" || before.untilMs <= nowMs) return decided(before);
    const after: Approval = { ...before, state: "rejected", decidedBy: by.actor, decidedAtMs: nowMs };
    this.#put(by, nowMs, "approval.reject", before, after);
    return ok({ value: after, push: null });
  }

  /** What time ends. */
  expire(by: By, nowMs: number): void {
    const query = "SELECT document FROM approvals WHERE state IN ('proposed', 'approved') AND until_ms <= ?";
    for (const approval of this.#approvals(query, nowMs)) {
      this.#put(by, nowMs, "approval.expire", approval, { ...approval, state: "expired" });
    }
    for (const override of this.overrides()) {
      if (override.untilMs === null || override.untilMs > nowMs) continue;
      this.#drop(override);
      const target = `models/${override.model}/degrade/${override.step}`;
      this.#changed(by, nowMs, "override.expire", target, override, null);
    }
    const old = nowMs - APPROVALS_KEPT_MS;
    this.#sql.exec("DELETE FROM approvals WHERE state IN ('rejected', 'expired') AND until_ms < ?", old);
  }

  /** When `expire` has something to do; null: never. */
  nextEndMs(): number | null {
    const query = "SELECT MIN(until_ms) AS at FROM approvals WHERE state IN ('proposed', 'approved')";
    const { at } = this.#sql.exec<{ at: number | null }>(query).one();
    const ends = this.overrides().flatMap(({ untilMs }) => untilMs ?? []);
    const next = Math.min(at ?? Infinity, ...ends);
    return Number.isFinite(next) ? next : null;
  }

  /** The model is gone. */
  forget(model: string): void {
    this.#sql.exec("DELETE FROM overrides WHERE model = ?", model);
    for (const { id, model: of } of this.#approvals("SELECT document FROM approvals")) {
      if (of === model) this.#sql.exec("DELETE FROM approvals WHERE id = ?", id);
    }
  }

  #override(model: string, step: Step): Override | null {
    return this.overrides().find((one) => one.model === model && one.step === step) ?? null;
  }

  #drop({ model, step }: Override): void {
    this.#sql.exec("DELETE FROM overrides WHERE model = ? AND step = ?", model, step);
  }

  #approval(id: string): Approval | null {
    return this.#approvals("SELECT document FROM approvals WHERE id = ?", id)[0] ?? null;
  }

  #approvals(query: string, ...bindings: (string | number)[]): Approval[] {
    const rows = this.#sql.exec<{ document: string }>(query, ...bindings).toArray();
    return rows.map(({ document }) => JSON.parse(document) as Approval);
  }

  #put(by: By, nowMs: number, action: string, before: Approval | null, after: Approval): void {
    const query = "INSERT OR REPLACE INTO approvals (id, state, until_ms, document) VALUES (?, ?, ?, ?)";
    this.#sql.exec(query, after.id, after.state, after.untilMs, JSON.stringify(after));
    this.#changed(by, nowMs, action, `approvals/${after.id}`, before, after);
  }

  #changed(
    by: By,
    nowMs: number,
    action: string,
    target: string,
    before: object | null,
    after: object | null,
  ) {
    nextNumber(this.#sql, "catalogue");
    this.#audit.add(by, nowMs, action, target, before, after);
  }
}

function decided({ id, state }: Approval): Result<never> {
  const detail = state === "proposed" ? `'${id}' has expired.` : `'${id}' is ${state} already.`;
  return refused({ tag: "conflict", detail });
}

function full(): Result<never> {
  const detail = `There are already ${CONTROLS_MAX} overrides and approvals, the most that are allowed.`;
  return refused({ tag: "conflict", detail });
}
