import type { Events } from "./events.ts";
import type { Random } from "./random.ts";
import type { NetSetting } from "./schedule.ts";

/** Messages between places. Each may be lost, doubled, held up (so they pass each other) or stopped by a cut. */
export class Network {
  readonly #events: Events;
  readonly #random: Random;
  readonly #cutUntilMs = new Map<string, number>();
  #setting: NetSetting;
  sent = 0;

  constructor(events: Events, random: Random, setting: NetSetting) {
    this.#events = events;
    this.#random = random;
    this.#setting = setting;
  }

  cut(link: string, forMs: number): void {
    this.#cutUntilMs.set(link, Math.max(this.#cutUntilMs.get(link) ?? 0, this.#events.nowMs + forMs));
  }

  /** From now on everything arrives, soon and once. */
  heal(): void {
    this.#cutUntilMs.clear();
    this.#setting = { lossPerMille: 0, duplicatePerMille: 0, slowPerMille: 0, delayMaxMs: 0 };
  }

  send(link: string, latencyMs: number, deliver: () => void): void {
    const { duplicatePerMille, lossPerMille } = this.#setting;
    const copies = this.#random.chance(duplicatePerMille) ? 2 : 1;
    this.sent += 1;
    for (let copy = 0; copy < copies; copy += 1) {
      if (this.#isCut(link) || this.#random.chance(lossPerMille)) continue;
      this.#events.after(this.#delayMs(latencyMs), () => {
        if (!this.#isCut(link)) deliver();
      });
    }
  }

  #isCut(link: string): boolean {
    return this.#events.nowMs < (this.#cutUntilMs.get(link) ?? 0);
  }

  #delayMs(latencyMs: number): number {
    const { slowPerMille, delayMaxMs } = this.#setting;
    if (this.#random.chance(slowPerMille))
      return this.#random.int(latencyMs, Math.max(latencyMs, delayMaxMs));
    return latencyMs + this.#random.int(0, Math.ceil(latencyMs / 4));
  }
}
