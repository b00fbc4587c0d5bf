import { UNREACHED_MAX, UNREACHED_RETRY_MS } from "../bounds.ts";

/**
 * What could not be reached from one isolate a moment ago, by name, and when the next request may try it. Else every
 * request would wait for the same silence again. Only an answer proves that it is back: that a directory has heard of a
 * pool says nothing of the way from here. Plain data, since in a Worker no request may wait for another's promise.
 */
export class Reach {
  readonly #retryAtMs = new Map<string, number>();

  missed(name: string, nowMs: number): void {
    if (this.#retryAtMs.size >= UNREACHED_MAX) this.#retryAtMs.clear();
    this.#retryAtMs.set(name, nowMs + UNREACHED_RETRY_MS);
  }

  reached(name: string): void {
    this.#retryAtMs.delete(name);
  }

  /** Whether it was missed, and it is not time yet to try it again. */
  isMissed(name: string, nowMs: number): boolean {
    return (this.#retryAtMs.get(name) ?? nowMs) > nowMs;
  }

  /** Whether it was missed, and nobody has reached it since. */
  isDoubtful(name: string): boolean {
    return this.#retryAtMs.has(name);
  }

  /** Whether a request may try it. Of what was missed, whoever is told so is the only one for the next while. */
  mayTry(name: string, nowMs: number): boolean {
    if (this.isMissed(name, nowMs)) return false;
    if (this.isDoubtful(name)) this.missed(name, nowMs);
    return true;
  }
}

/** All gates of a pool. */
export function gatesOf(pool: string): string {
  return `gates/${pool}`;
}

export function objectOf(pool: string, model: string, cell: number): string {
  return `object/${pool}/${model}/${cell}`;
}
