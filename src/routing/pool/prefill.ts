/** Tokens per second of a GPU of which nothing is measured yet, and how much measuring that is worth. */
const SPEED_PRIOR_TOKENS_PER_SECOND = 10_000;
const PRIOR_TOKENS = 8_192;
const SPEED_MIN_TOKENS_PER_MS = 0.2;
const SPEED_MAX_TOKENS_PER_MS = 1_000;
/** What was measured counts half after so many further tokens: some ten long prompts. */
const HALF_LIFE_TOKENS = 65_536;
/** Shorter prompts measure an engine's fixed costs, not its speed. */
const SAMPLE_MIN_TOKENS = 256;
/** From being sent to its first token, whatever its length, where nothing is measured. */
const BASE_PRIOR_MS = 50;
/** A first token that is so much later than expected came unseen: an edge that does not tell, or a lost message. */
const OVERDUE_FACTOR = 4;
const OVERDUE_MS = 2_000;

/** One that is that much later than expected was not cached as believed: all of its prompt counts from then on. */
const LATE_FACTOR = 1.5;

export interface SavedSpeed {
  readonly tokens: number;
  readonly ms: number;
  readonly baseMs: number;
}

/** How fast one replica computes prompts: decaying sums of tokens and of the time that they took. */
export class PrefillSpeed {
  #tokens = PRIOR_TOKENS;
  #ms = (PRIOR_TOKENS * 1_000) / SPEED_PRIOR_TOKENS_PER_SECOND;
  #baseMs = BASE_PRIOR_MS;

  get tokensPerMs(): number {
    const speed = this.#tokens / Math.max(1e-3, this.#ms);
    return Math.max(SPEED_MIN_TOKENS_PER_MS, Math.min(SPEED_MAX_TOKENS_PER_MS, speed));
  }

  get baseMs(): number {
    return this.#baseMs;
  }

  measured(tokens: number, ms: number): void {
    if (tokens < SAMPLE_MIN_TOKENS) {
      const restMs = Math.max(0, ms - tokens / this.tokensPerMs);
      this.#baseMs += 0.05 * (Math.min(1_000, restMs) - this.#baseMs);
      return;
    }
    const kept = 0.5 ** (tokens / HALF_LIFE_TOKENS);
    this.#tokens = this.#tokens * kept + tokens;
    this.#ms = this.#ms * kept + ms;
  }

  save(): SavedSpeed {
    return { tokens: this.#tokens, ms: this.#ms, baseMs: this.#baseMs };
  }

  load(saved: SavedSpeed): void {
    [this.#tokens, this.#ms, this.#baseMs] = [saved.tokens, saved.ms, saved.baseMs];
  }
}

interface Running {
  /** Believed uncached. */
  readonly tokens: number;
  readonly promptTokens: number;
  readonly batch: boolean;
}

/**
 * Uncached tokens that were sent to one replica and whose first token has not come. Engines take prompts in order, so
 * the oldest is the one that runs, since it was sent or since the one before it had its first token; what it has done
 * by now is taken off at the measured speed (replay: "+ decay").
 */
export class PrefillAccount {
  readonly speed = new PrefillSpeed();
  readonly #running = new Map<string, Running>();
  #tokens = 0;
  #batch = 0;
  #headSinceMs = 0;
  /** Grows with every change. */
  revision = 0;

  get count(): number {
    return this.#running.size;
  }

  /** Prompts of the band `batch` among them. */
  get batch(): number {
    return this.#batch;
  }

  sent(id: string, tokens: number, promptTokens: number, batch: boolean, nowMs: number): void {
    if (this.#running.has(id)) return;
    this.revision += 1;
    if (this.#running.size === 0) this.#headSinceMs = nowMs;
    this.#running.set(id, { tokens, promptTokens, batch });
    this.#tokens += tokens;
    if (batch) this.#batch += 1;
  }

  /** Its first token came, so it tells of the speed; false when it was not known to run. */
  started(id: string, nowMs: number): boolean {
    const one = this.#running.get(id);
    if (!one) return false;
    this.speed.measured(one.tokens, Math.max(0, nowMs - this.#headSinceMs));
    this.#headSinceMs = nowMs;
    this.#remove(id, one);
    return true;
  }

  /** It ended without a first token. */
  ended(id: string, nowMs: number): void {
    const one = this.#running.get(id);
    if (!one) return;
    if (this.#headId() === id) this.#headSinceMs = nowMs;
    this.#remove(id, one);
  }

  /** Takes off what must have come without anybody saying so. */
  expire(nowMs: number): void {
    for (const [id, one] of this.#running) {
      const dueMs = OVERDUE_FACTOR * (one.tokens / this.speed.tokensPerMs) + OVERDUE_MS;
      if (nowMs - this.#headSinceMs <= dueMs) return;
      this.#headSinceMs += dueMs;
      this.#remove(id, one);
    }
  }

  aheadTokens(nowMs: number): number {
    const head = this.#running.values().next().value;
    if (head === undefined) return 0;
    const sinceMs = Math.max(0, nowMs - this.#headSinceMs);
    const done = sinceMs * this.speed.tokensPerMs;
    if (done <= head.tokens) return this.#tokens - done;
    const after = this.#tokens - head.tokens;
    const expectedMs = head.tokens / this.speed.tokensPerMs + this.speed.baseMs;
    const isLate = sinceMs > LATE_FACTOR * expectedMs;
    return isLate ? after + Math.max(0, head.promptTokens - done) : after;
  }

  /** When fewer than `tokens` will be ahead if only time passes; null when they are already, or a first token has to come. */
  belowAtMs(tokens: number, nowMs: number): number | null {
    const head = this.#running.values().next().value;
    if (head === undefined || this.#tokens - head.tokens >= tokens) return null;
    const above = this.aheadTokens(nowMs) - tokens;
    return above < 0 ? null : nowMs + above / this.speed.tokensPerMs + 1;
  }

  #headId(): string | undefined {
    return this.#running.keys().next().value;
  }

  #remove(id: string, one: Running): void {
    this.revision += 1;
    this.#running.delete(id);
    this.#tokens = this.#running.size === 0 ? 0 : this.#tokens - one.tokens;
    if (one.batch) this.#batch -= 1;
  }
}
