import { admits, type Breaker, CLOSED, probed, tallied } from "./breaker.ts";
import type { BreakerState, PermitOutcome } from "./messages.ts";

/** What ended at one replica since its gate's last word. */
export interface BreakerSample {
  readonly ok: number;
  readonly failed: number;
  readonly slow: number;
  readonly overloaded: number;
}

export interface ReplicaSigns {
  readonly waiting: number;
  readonly kvCacheUsage: number;
  readonly gpuMemoryUsage: number | null;
}

/** The breakers of one pool's replicas: which may take work, and how much of it. */
export class Breakers {
  readonly #breakers = new Map<string, Breaker>();
  readonly #probes = new Map<string, string>();

  constructor(saved: unknown | null, _nowMs: number, _random: () => number) {
    for (const [replica, breaker] of (saved ?? []) as [string, Breaker][])
      this.#breakers.set(replica, breaker);
  }

  /** What a heartbeat says; `signs` is null when the report is stale. */
  observe(replica: string, sample: BreakerSample | null, _signs: ReplicaSigns | null, nowMs: number): void {
    if (sample) this.#tally(replica, sample.ok, sample.failed, nowMs);
  }

  /** It is another process than before. */
  restarted(replica: string, _nowMs: number): void {
    this.forget(replica);
  }

  forget(replica: string): void {
    this.#breakers.delete(replica);
    this.#probes.delete(replica);
  }

  /** The share of normal work that it may take now, 0 to 1. */
  share(replica: string, _nowMs: number): number {
    return this.#of(replica).state === "closed" ? 1 : 0;
  }

  mayProbe(replica: string, nowMs: number): boolean {
    const breaker = this.#of(replica);
    return breaker.state !== "closed" && admits(breaker, this.#probes.has(replica), nowMs);
  }

  sent(replica: string, id: string, _nowMs: number): void {
    const breaker = this.#of(replica);
    if (breaker.state === "closed") return;
    this.#breakers.set(replica, probed(breaker));
    this.#probes.set(replica, id);
  }

  ended(replica: string, id: string, outcome: PermitOutcome, nowMs: number): void {
    if (this.#probes.get(replica) !== id) return;
    this.#probes.delete(replica);
    if (outcome === "failed") this.#tally(replica, 0, 1, nowMs);
  }

  state(replica: string, _nowMs: number): BreakerState {
    return this.#of(replica).state;
  }

  save(): unknown {
    return [...this.#breakers];
  }

  #of(replica: string): Breaker {
    return this.#breakers.get(replica) ?? CLOSED;
  }

  #tally(replica: string, ok: number, failed: number, nowMs: number): void {
    this.#breakers.set(replica, tallied(this.#of(replica), ok, failed, nowMs));
  }
}
