import { Events } from "../../world/events.ts";

/** Virtual time for code that is written as the edge's is: with promises. */
export class VirtualTime {
  readonly events = new Events();

  get nowMs(): number {
    return this.events.nowMs;
  }

  sleep(ms: number): Promise<void> {
    return new Promise((resolve) => this.events.after(ms, resolve));
  }

  /** Null when it takes longer. */
  within<T>(promise: Promise<T>, ms: number): Promise<T | null> {
    return new Promise((resolve, reject) => {
      promise.then(resolve, reject);
      this.events.after(ms, () => resolve(null));
    });
  }

  /** Between two events everything that waited for the first goes on until it waits again. */
  async run(untilMs: number): Promise<void> {
    await settled();
    while (this.events.step(untilMs)) await settled();
    this.events.nowMs = Math.max(this.events.nowMs, untilMs);
  }
}

function settled(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}
