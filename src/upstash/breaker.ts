import { REDIS_SKIP_MS } from "../bounds.ts";

/**
 * Whether Redis is worth asking. A failure means `REDIS_SKIP_MS` without it; after that Redis is tried in the
 * background, by one request of the isolate at a time, and only its success brings it back: a Redis that stays stalled
 * is waited for once and not every few seconds.
 */
export class SkipBreaker {
  #state: { readonly kind: "closed" } | { readonly kind: "open"; readonly untilMs: number } = CLOSED;

  /** `ask`: wait for its answer. `skip`: do without. `probe`: do without, and try it in the background. */
  next(nowMs: number): "ask" | "skip" | "probe" {
    if (this.#state.kind === "closed") return "ask";
    if (nowMs < this.#state.untilMs) return "skip";
    this.failed(nowMs);
    return "probe";
  }

  failed(nowMs: number): void {
    this.#state = { kind: "open", untilMs: nowMs + REDIS_SKIP_MS };
  }

  answered(): void {
    this.#state = CLOSED;
  }
}

const CLOSED = { kind: "closed" } as const;
