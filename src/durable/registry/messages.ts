import type { Control, Step } from "../../catalogue.ts";
import type { Failure } from "../../errors.ts";
import type { BudgetAddress } from "../stub.ts";

/** What the admin API and the registry say to each other. Failures are values: an error thrown over RPC loses its type. */

export type Result<T> =
  | { readonly ok: true; readonly value: T }
  | { readonly ok: false; readonly failure: Failure };

/** The answer to a change. */
export type Change<T> =
  | {
      readonly ok: true;
      readonly value: T;
      /** False: it is recorded, but the tenant's budget object could not be told yet. The outbox goes on trying. */
      readonly inForce: boolean;
    }
  | { readonly ok: false; readonly failure: Failure };

/** Who asks for a change. */
export interface By {
  /** The admin key's name, or the first characters of its hash: tells keys apart, opens nothing. */
  readonly actor: string;
  /** The same for every delivery of one request, so that a repeated one changes nothing twice. */
  readonly requestId: string;
}

export interface PageAsk {
  /** What the page before gave as `nextCursor`; null: the first page. */
  readonly cursor: string | null;
  readonly limit: number;
}

export interface Page<T> {
  readonly data: readonly T[];
  /** Null: this was the last page. */
  readonly nextCursor: string | null;
}

export interface AuditEntry {
  readonly id: number;
  readonly atMs: number;
  readonly actor: string;
  readonly requestId: string;
  /** What was done: `tenant.update`. */
  readonly action: string;
  /** To what: `tenants/acme/keys/Ab3…`. */
  readonly target: string;
  /** JSON of the thing before and after; null where there was none. Never a secret, nor a secret's hash. */
  readonly before: string | null;
  readonly after: string | null;
}

/** An operator's word on one step of a model's ladder. */
export interface Override extends Control {
  readonly mode: "force" | "forbid";
  readonly reason: string;
  readonly by: string;
  readonly atMs: number;
}

/** A step that waits for a human's yes, by somebody else than whoever proposed it. */
export interface Approval {
  readonly id: string;
  readonly model: string;
  readonly step: Step;
  /** `allow`: the ladder may take the step where it has to. `force`: it is taken. */
  readonly mode: "allow" | "force";
  readonly reason: string;
  readonly state: "proposed" | "approved" | "rejected" | "expired";
  readonly proposedBy: string;
  readonly proposedAtMs: number;
  readonly decidedBy: string | null;
  readonly decidedAtMs: number | null;
  /** While proposed: when nobody can approve it any more. Once approved: when it ends. */
  readonly untilMs: number;
}

export type Proposal = Pick<Approval, "model" | "step" | "mode" | "reason">;

/** What an override became: in force, or, where the step needs approval, a proposal. */
export type OverrideOrProposal =
  | { readonly kind: "override"; readonly override: Override }
  | { readonly kind: "proposal"; readonly approval: Approval };

/** A change that was written; `push` names the budget object that has to hear of it, if one has. */
export interface Done<T> {
  readonly value: T;
  readonly push: BudgetAddress | null;
}

export function ok<T>(value: T): { ok: true; value: T } {
  return { ok: true, value };
}

export function refused(failure: Failure): { ok: false; failure: Failure } {
  return { ok: false, failure };
}

export function missing(what: string): { ok: false; failure: Failure } {
  return refused({ tag: "not_found", what });
}
