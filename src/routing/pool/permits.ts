import { PERMIT_TTL_MS } from "../../bounds.ts";
import type { Grant } from "../messages.ts";

export interface Permit {
  readonly id: string;
  readonly replica: string;
  readonly grant: Grant;
  readonly kvTokens: number;
  /** Null for one that was taken up again after a restart: nobody knows since when it runs. */
  readonly sentAtMs: number | null;
  readonly expiresAtMs: number;
}

/** Permits that are out, by request. In memory only: their holders' sessions are the lease. */
export class Permits {
  /** All live equally long from when they were put here last, so the first expires first. */
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

  /** Keeps it for another while; false when it is not known. */
  extend(id: string, nowMs: number): boolean {
    const permit = this.take(id);
    if (permit) this.#all.set(id, { ...permit, expiresAtMs: nowMs + PERMIT_TTL_MS });
    return permit !== undefined;
  }

  expired(nowMs: number): Permit[] {
    const expired: Permit[] = [];
    for (const permit of this.#all.values()) {
      if (permit.expiresAtMs > nowMs) break;
      expired.push(permit);
    }
    return expired;
  }

  at(replica: string): Permit[] {
    return [...this.#all.values()].filter((permit) => permit.replica === replica);
  }

  nextExpiryMs(): number {
    return this.#all.values().next().value?.expiresAtMs ?? Infinity;
  }
}
