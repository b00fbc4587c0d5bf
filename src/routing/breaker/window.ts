import { BREAKER_WINDOW_MAX_S } from "./bounds.ts";

export interface Counts {
  ok: number;
  failed: number;
  slow: number;
}

/**
 * Counts of the last minute, one bucket a second. A window of n seconds is the running second and the n − 1 before
 * it: time passes by the clock and not by events, so that an idle gap empties it.
 */
export class Window {
  #buckets: { second: number; counts: Counts }[] = [];

  add(counts: Partial<Counts>, nowMs: number): void {
    const second = secondOf(nowMs);
    let last = this.#buckets.at(-1);
    if (last?.second !== second) {
      last = { second, counts: { ok: 0, failed: 0, slow: 0 } };
      this.#buckets.push(last);
      while (this.#buckets[0]!.second <= second - BREAKER_WINDOW_MAX_S) this.#buckets.shift();
    }
    for (const name of ["ok", "failed", "slow"] as const) last.counts[name] += counts[name] ?? 0;
  }

  sum(windowSeconds: number, nowMs: number): Counts {
    const oldest = secondOf(nowMs) - windowSeconds;
    const sum: Counts = { ok: 0, failed: 0, slow: 0 };
    for (const { second, counts } of this.#buckets) {
      if (second <= oldest) continue;
      sum.ok += counts.ok;
      sum.failed += counts.failed;
      sum.slow += counts.slow;
    }
    return sum;
  }

  clear(): void {
    this.#buckets = [];
  }
}

export function secondOf(ms: number): number {
  return Math.floor(ms / 1_000);
}
