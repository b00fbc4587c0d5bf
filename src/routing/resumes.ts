import { RESUME_SHARE, RESUME_WINDOW_MS } from "../bounds.ts";

/**
 * How many streams began to be carried on lately. When a region dies, all of its streams come at once, each with a
 * prompt to be computed anew: taken in one by one over seconds, they leave room for those who ask for the first time.
 * It bounds the rate and not the number, since a stream that is here cannot be sent away again.
 */
export class ResumeWindow {
  #fromMs = Number.NEGATIVE_INFINITY;
  #count = 0;

  full(capacity: number, nowMs: number): boolean {
    if (nowMs - this.#fromMs >= RESUME_WINDOW_MS) return false;
    return this.#count >= Math.max(1, Math.floor(capacity * RESUME_SHARE));
  }

  count(nowMs: number): void {
    if (nowMs - this.#fromMs >= RESUME_WINDOW_MS) {
      this.#fromMs = nowMs;
      this.#count = 0;
    }
    this.#count += 1;
  }
}
