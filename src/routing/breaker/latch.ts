import { BREAKER_SIGNS_MAX_AGE_MS } from "./bounds.ts";
import { secondOf } from "./window.ts";

export interface LatchSettings {
  readonly above: number;
  readonly clearBelow: number;
  readonly samples: number;
  readonly clearMs: number;
}

/**
 * A level with two thresholds. It sets after `samples` readings above the upper one, a second apart at least, and
 * clears after `clearMs` below the lower one. A level that was not read lately is unknown, and unknown is not set.
 */
export class Latch {
  #set = false;
  #above = 0;
  #aboveSecond = -1;
  #belowSinceMs: number | null = null;
  #readAtMs = -Infinity;

  read(value: number, settings: LatchSettings, nowMs: number): void {
    this.isSet(settings, nowMs);
    this.#readAtMs = nowMs;
    if (value <= settings.above) this.#above = 0;
    else if (secondOf(nowMs) !== this.#aboveSecond || this.#above === 0) {
      this.#above += 1;
      this.#aboveSecond = secondOf(nowMs);
    }
    if (this.#above >= settings.samples) this.#set = true;
    if (value >= settings.clearBelow) this.#belowSinceMs = null;
    else this.#belowSinceMs ??= nowMs;
  }

  isSet({ clearMs }: LatchSettings, nowMs: number): boolean {
    const unknown = nowMs - this.#readAtMs > BREAKER_SIGNS_MAX_AGE_MS;
    const cleared = this.#belowSinceMs !== null && nowMs - this.#belowSinceMs >= clearMs;
    if (unknown) this.reset();
    if (cleared) this.#set = false;
    return this.#set;
  }

  reset(): void {
    this.#set = false;
    this.#above = 0;
    this.#belowSinceMs = null;
  }
}
