import { DIRECTORY_FRESH_MS } from "../../../src/bounds.ts";
import type { PoolState } from "../../../src/routing/messages.ts";

/**
 * What one location knows of all pools. Pools tell it of changes, and requests read a copy of it that is up to two
 * seconds old.
 */
export class SimDirectory {
  readonly #pools = new Map<string, PoolState>();
  #copy: readonly PoolState[] = [];
  #copiedAtMs = Number.NEGATIVE_INFINITY;
  #deafUntilMs = Number.NEGATIVE_INFINITY;

  publish(state: PoolState, nowMs: number): void {
    if (nowMs < this.#deafUntilMs) return;
    const known = this.#pools.get(state.pool);
    if (!known || known.epoch <= state.epoch) this.#pools.set(state.pool, state);
  }

  view(nowMs: number): readonly PoolState[] {
    if (nowMs - this.#copiedAtMs >= DIRECTORY_FRESH_MS) {
      this.#copy = [...this.#pools.values()];
      this.#copiedAtMs = nowMs;
    }
    return this.#copy;
  }

  /** Hears nothing until then, and goes on with what it has. */
  stale(untilMs: number): void {
    this.#deafUntilMs = untilMs;
  }
}
