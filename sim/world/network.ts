import type { Events } from "./events.ts";
import type { Random } from "./random.ts";
import type { NetSetting } from "./schedule.ts";

/** A link that is interrupted: what is sent meanwhile is lost, or arrives when it is over. */
interface Cut {
  readonly untilMs: number;
  readonly holds: boolean;
}

/** Messages between places. Each may be lost, doubled, held up (so they pass each other) or stopped by a cut. */
export class Network {
  readonly #events: Events;
  readonly #random: Random;
  readonly #cuts = new Map<string, Cut>();
  #setting: NetSetting;
  sent = 0;

  constructor(events: Events, random: Random, setting: NetSetting) {
    this.#events = events;
    this.#random = random;
    this.#setting = setting;
  }

  cut(link: string, forMs: number, holds = false): void {
    const untilMs = Math.max(this.#cuts.get(link)?.untilMs ?? 0, this.#events.nowMs + forMs);
    this.#cuts.set(link, { untilMs, holds });
  }

  /** From now on everything arrives, soon and once. */
  heal(): void {
    this.#cuts.clear();
    this.#setting = { lossPerMille: 0, duplicatePerMille: 0, slowPerMille: 0, delayMaxMs: 0 };
  }

  send(link: string, latencyMs: number, deliver: () => void): void {
    const { duplicatePerMille, lossPerMille } = this.#setting;
    const copies = this.#random.chance(duplicatePerMille) ? 2 : 1;
    this.sent += 1;
    for (let copy = 0; copy < copies; copy += 1) {
      if (this.#random.chance(lossPerMille)) continue;
      this.#events.after(this.#delayMs(latencyMs), () => this.#arrive(link, latencyMs, deliver));
    }
  }

  #arrive(link: string, latencyMs: number, deliver: () => void): void {
    const cut = this.#cuts.get(link);
    const leftMs = (cut?.untilMs ?? 0) - this.#events.nowMs;
    if (leftMs <= 0) deliver();
    else if (cut?.holds) this.#events.after(leftMs + this.#delayMs(latencyMs), deliver);
  }

  #delayMs(latencyMs: number): number {
    const { slowPerMille, delayMaxMs } = this.#setting;
    if (this.#random.chance(slowPerMille))
      return this.#random.int(latencyMs, Math.max(latencyMs, delayMaxMs));
    return latencyMs + this.#random.int(0, Math.ceil(latencyMs / 4));
  }
}
