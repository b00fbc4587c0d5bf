import type { Background } from "../../../src/upstash/client.ts";
import type { Asker } from "../../../src/upstash/lists.ts";

/** In the first second of a window of ten. */
export const AT_MS = Date.UTC(2027, 0, 1, 12) + 500;

export const ASKER: Asker = { tenantRef: "00000000abc", keyId: "key0000001", address: "198.51.100.7" };

/** What a Worker's `ctx.waitUntil` is given. */
export class Later implements Background {
  readonly #promises: Promise<unknown>[] = [];

  waitUntil(promise: Promise<unknown>): void {
    this.#promises.push(promise);
  }

  get waiting(): number {
    return this.#promises.length;
  }

  /** Rejects when one of them did: nothing in the background may. */
  async done(): Promise<void> {
    await Promise.all(this.#promises.splice(0));
  }
}
