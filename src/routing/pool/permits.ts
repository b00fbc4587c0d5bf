import { PERMIT_TTL_MS } from "../../bounds.ts";
import type { Grant } from "../messages.ts";

export interface Permit {
  readonly id: string;
  readonly replica: string;
  readonly grant: Grant;
  readonly kvTokens: number;
  /** Null for one that was taken up again after a restart: nobody knows since when it runs. */
  readonly sentAtMs: number | null;
  expiresAtMs: number;
}

/** Permits that are out, by request. In memory only: their holders' sessions are the lease. */
export class Permits {
  readonly #all = new Map<string, Permit>();

  get size(): number {
    return this.#all.size;
  }

  get(id: string): Permit | undefined {
    return this.#all.get(id);
  }

  put(id: string, grant: Grant, kvTokens: number, sentAtMs: number | null, nowMs: number): void {
    const expiresAtMs = nowMs + PERMIT_TTL_MS;
    this.#all.set(id, { id, replica: grant.replica, grant, kvTokens, sentAtMs, expiresAtMs });
  }

  take(id: string): Permit | undefined {
    const permit = this.#all.get(id);
    this.#all.delete(id);
    return permit;
  }

  expired(nowMs: number): Permit[] {
    return [...this.#all.values()].filter(({ expiresAtMs }) => expiresAtMs <= nowMs);
  }

  at(replica: string): Permit[] {
    return [...this.#all.values()].filter((permit) => permit.replica === replica);
  }

  nextExpiryMs(): number {
    let next = Infinity;
    for (const { expiresAtMs } of this.#all.values()) next = Math.min(next, expiresAtMs);
    return next;
  }
}
