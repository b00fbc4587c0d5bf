import type { Tally } from "../contract/report.ts";
import { TALLIES_MAX } from "./bounds.ts";
import type { Ending } from "./endings.ts";

type Counts = { -readonly [name in keyof Tally]: Tally[name] };

/** What ended, or became slow, at each replica since the last batch: the breaker's food. */
export class Tallies {
  #counts = new Map<string, Counts>();

  get empty(): boolean {
    return this.#counts.size === 0;
  }

  /** Counts one ended attempt. */
  count(replica: string, model: string, verdict: Ending["verdict"]): void {
    const counts = this.#of(replica, model);
    if (verdict === "ok") counts.ok += 1;
    if (verdict === "failed") counts.failed += 1;
    if (verdict === "overloaded") counts.overloaded += 1;
  }

  /** Counts a request that reached the age at which it is slow, beside whatever its verdict will be. */
  slow(replica: string, model: string): void {
    this.#of(replica, model).slow += 1;
  }

  tokens(replica: string, model: string, tokens: number): void {
    if (tokens > 0) this.#of(replica, model).tokens += tokens;
  }

  /** Everything counted, and starts anew. */
  take(): Tally[] {
    const taken = [...this.#counts.values()];
    this.#counts = new Map();
    return taken;
  }

  #of(replica: string, model: string): Counts {
    const key = `${replica}\n${model}`;
    let counts = this.#counts.get(key);
    if (counts === undefined) {
      counts = { replica, model, ok: 0, failed: 0, slow: 0, overloaded: 0, tokens: 0 };
      // Beyond the bound, which a pool with its few replicas never reaches, counts are lost, not memory.
      if (this.#counts.size < TALLIES_MAX) this.#counts.set(key, counts);
    }
    return counts;
  }
}
