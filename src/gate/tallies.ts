import { WAIT_BUCKET_FIRST_MS, WAIT_BUCKETS } from "../bounds.ts";
import type { Tally } from "../contract/report.ts";
import { TALLIES_MAX } from "./bounds.ts";
import type { Ending } from "./endings.ts";

type Counts = { -readonly [name in keyof Omit<Tally, "waits">]: Tally[name] } & {
  readonly waitsByBucket: Map<number, number>;
};

/** The bucket of a time to first token: four to each doubling, so a bucket's ends are 19 % apart. */
export function waitBucket(waitMs: number): number {
  const bucket = Math.ceil(4 * Math.log2(Math.max(1, waitMs) / WAIT_BUCKET_FIRST_MS));
  return Math.min(WAIT_BUCKETS - 1, Math.max(0, bucket));
}

/** What ended, or became slow, at each replica since the last batch: the breaker's food. */
export class Tallies {
  #counts = new Map<string, Counts>();

  get empty(): boolean {
    return this.#counts.size === 0;
  }

  /** Counts one ended attempt. `waitedMs`: to its first token; 0 where it had none, or that was not seen. */
  count(replica: string, model: string, verdict: Ending["verdict"], waitedMs = 0): void {
    const counts = this.#of(replica, model);
    if (verdict === "ok") counts.ok += 1;
    if (verdict === "failed") counts.failed += 1;
    if (verdict === "overloaded") counts.overloaded += 1;
    if (waitedMs <= 0 || (verdict !== "ok" && verdict !== "failed")) return;
    const bucket = waitBucket(waitedMs);
    counts.waitsByBucket.set(bucket, (counts.waitsByBucket.get(bucket) ?? 0) + 1);
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
    const taken = [...this.#counts.values()].map(({ waitsByBucket, ...counts }): Tally => {
      return waitsByBucket.size === 0 ? counts : { ...counts, waits: [...waitsByBucket] };
    });
    this.#counts = new Map();
    return taken;
  }

  #of(replica: string, model: string): Counts {
    const key = `${replica}\n${model}`;
    let counts = this.#counts.get(key);
    if (counts === undefined) {
      counts = {
        replica,
        model,
        ok: 0,
        failed: 0,
        slow: 0,
        overloaded: 0,
        tokens: 0,
        waitsByBucket: new Map(),
      };
      // Beyond the bound, which a pool with its few replicas never reaches, counts are lost, not memory.
      if (this.#counts.size < TALLIES_MAX) this.#counts.set(key, counts);
    }
    return counts;
  }
}
