import { FAIR_TENANTS_MAX } from "../../bounds.ts";

/**
 * Weighted tokens that each tenant was served, as the Virtual Token Counter has it (arXiv 2401.00588): the one with
 * the fewest goes first. Who comes back after a pause is lifted to the least of those who wait, so nobody saves up.
 */
export class FairShares {
  readonly #served = new Map<string, number>();
  readonly #waiting = new Map<string, number>();
  /** Where the last tenant stood when the queue ran empty. */
  #floor = 0;

  get remembered(): number {
    return this.#served.size;
  }

  of(tenant: string): number {
    return this.#served.get(tenant) ?? this.#floor;
  }

  arrives(tenant: string): void {
    const waiting = this.#waiting.get(tenant) ?? 0;
    if (waiting === 0) {
      let least = Infinity;
      for (const other of this.#waiting.keys()) least = Math.min(least, this.of(other));
      this.#set(tenant, Math.max(this.of(tenant), Number.isFinite(least) ? least : this.#floor));
    }
    this.#waiting.set(tenant, waiting + 1);
  }

  leaves(tenant: string): void {
    const waiting = (this.#waiting.get(tenant) ?? 0) - 1;
    if (waiting > 0) {
      this.#waiting.set(tenant, waiting);
      return;
    }
    this.#waiting.delete(tenant);
    if (this.#waiting.size === 0) this.#floor = Math.max(this.#floor, this.of(tenant));
  }

  serves(tenant: string, tokens: number): void {
    this.#set(tenant, this.of(tenant) + tokens);
  }

  /** Last set comes last, so the first that does not wait is the one longest without service. */
  #set(tenant: string, served: number): void {
    this.#served.delete(tenant);
    this.#served.set(tenant, served);
    if (this.#served.size <= FAIR_TENANTS_MAX) return;
    for (const other of this.#served.keys()) {
      if (this.#waiting.has(other) || other === tenant) continue;
      this.#served.delete(other);
      return;
    }
  }
}
