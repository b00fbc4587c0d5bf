import { QUARANTINE_BYSTANDERS_MAX, QUARANTINE_HERE_MS } from "../bounds.ts";

/** What this isolate refuses by itself. When many are there at once the place is why, and it refuses none of them. */
export class HeldHere {
  readonly #untilMs = new Map<string, number>();

  add(fingerprint: string, nowMs: number): void {
    this.#forget(nowMs);
    this.#untilMs.set(fingerprint, nowMs + QUARANTINE_HERE_MS);
  }

  empty(nowMs: number): boolean {
    this.#forget(nowMs);
    return this.#untilMs.size === 0;
  }

  /** 0 where it is not held. */
  untilMs(fingerprint: string, nowMs: number): number {
    this.#forget(nowMs);
    return this.#untilMs.size > QUARANTINE_BYSTANDERS_MAX ? 0 : (this.#untilMs.get(fingerprint) ?? 0);
  }

  #forget(nowMs: number): void {
    for (const [one, untilMs] of this.#untilMs) if (untilMs <= nowMs) this.#untilMs.delete(one);
  }
}
