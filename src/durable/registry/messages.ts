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
  /** The first characters of the admin key's hash: tells keys apart, opens nothing. */
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
