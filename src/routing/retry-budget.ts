/**
 * How many retries a model's requests may take: within every window at most a share of the requests that came in it, and
 * a few beside, so that a quiet isolate can fail over at all. Retries of a region that is dying would otherwise make its
 * load on the next one a multiple of what it was. Counted in slots of the window, so that memory does not grow with load.
 */
export interface RetryRules {
  readonly share: number;
  readonly floor: number;
  readonly windowMs: number;
}

const SLOTS = 10;

export class RetryBudget {
  readonly #rules: RetryRules;
  readonly #requests = new Uint32Array(SLOTS);
  readonly #retries = new Uint32Array(SLOTS);
  /** Number of the newest slot that was counted in, since the epoch. */
  #newest = Number.NEGATIVE_INFINITY;

  constructor(rules: RetryRules) {
    this.#rules = rules;
  }

  /** A new request has come. */
  requested(nowMs: number): void {
    const slot = this.#at(nowMs);
    this.#requests[slot] = this.#requests[slot]! + 1;
  }

  /** Takes one retry; false when there is none left. What was taken comes back with the window's end only. */
  take(nowMs: number): boolean {
    const slot = this.#at(nowMs);
    const { share, floor } = this.#rules;
    if (sum(this.#retries) + 1 > floor + share * sum(this.#requests)) return false;
    this.#retries[slot] = this.#retries[slot]! + 1;
    return true;
  }

  /** The place of now's slot, with what has left the window forgotten. A clock that steps back counts as standing. */
  #at(nowMs: number): number {
    const now = Math.max(Math.floor(nowMs / (this.#rules.windowMs / SLOTS)), this.#newest);
    const stale = Math.min(SLOTS, now - this.#newest);
    for (let back = 0; back < stale; back++) {
      const slot = placeOf(now - back);
      this.#requests[slot] = 0;
      this.#retries[slot] = 0;
    }
    this.#newest = now;
    return placeOf(now);
  }
}

function placeOf(slot: number): number {
  return ((slot % SLOTS) + SLOTS) % SLOTS;
}

function sum(counts: Uint32Array): number {
  let total = 0;
  for (const count of counts) total += count;
  return total;
}
