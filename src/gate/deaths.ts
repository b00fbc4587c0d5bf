import { DEATHS_PER_REPORT_MAX, QUARANTINE_PRESENT_MAX } from "../bounds.ts";
import { sha256, toBase64Url } from "../contract/encoding.ts";
import type { EngineDeath } from "../contract/report.ts";
import { DEATH_SETTLE_MS } from "./bounds.ts";
import type { Clock } from "./clock.ts";

/** A request that ended because its engine failed. */
export interface Lost {
  readonly replica: string;
  /** The engine said itself that it is dead; else its address is asked. */
  readonly died: boolean;
  /** A token of it was seen. */
  readonly begun: boolean;
  /** What the model read, as one text; only its hash leaves this process. */
  content(): string;
  /** Whether nothing listens at the engine's address any more. */
  gone(): Promise<boolean>;
}

/**
 * Engines that died, and the requests that they had then. Connections of one engine end within milliseconds of each
 * other; whatever of its requests fails within the settling time belongs to the same death.
 */
export class Deaths {
  readonly #gate: string;
  readonly #clock: Clock;
  readonly #onDeath: () => void;
  readonly #open = new Map<string, Lost[]>();
  #ready: EngineDeath[] = [];
  #cleared: string[] = [];
  #count = 0;

  constructor(gate: string, clock: Clock, onDeath: () => void) {
    this.#gate = gate;
    this.#clock = clock;
    this.#onDeath = onDeath;
  }

  lost(request: Lost): void {
    const together = this.#open.get(request.replica);
    if (together !== undefined) {
      together.push(request);
      return;
    }
    const begun = [request];
    this.#open.set(request.replica, begun);
    void this.#settle(request, begun);
  }

  /** A request that was under suspicion has completed. */
  completed(fingerprint: string): void {
    if (this.#cleared.length < DEATHS_PER_REPORT_MAX) this.#cleared.push(fingerprint);
    this.#onDeath();
  }

  get empty(): boolean {
    return this.#ready.length === 0 && this.#cleared.length === 0;
  }

  /** What the edge does not know yet. */
  take(): { readonly deaths: readonly EngineDeath[]; readonly cleared: readonly string[] } {
    const taken = { deaths: this.#ready, cleared: this.#cleared };
    this.#ready = [];
    this.#cleared = [];
    return taken;
  }

  async #settle(first: Lost, together: readonly Lost[]): Promise<void> {
    const atMs = this.#clock.epochMs();
    const [gone] = await Promise.all([
      first.gone(),
      new Promise((resolve) => setTimeout(resolve, DEATH_SETTLE_MS)),
    ]);
    this.#open.delete(first.replica);
    if (!gone && !together.some(({ died }) => died)) return;
    // Those without a token are the likeliest, should there be more than a report may name.
    const likeliest = [...together].sort((one, other) => Number(one.begun) - Number(other.begun));
    const present = await Promise.all(
      likeliest.slice(0, QUARANTINE_PRESENT_MAX).map(async ({ begun, content }) => {
        return { digest: toBase64Url(await sha256(content())), begun };
      }),
    );
    this.#count += 1;
    const id = `${this.#gate}/${atMs}/${this.#count}`;
    if (this.#ready.length < DEATHS_PER_REPORT_MAX) {
      this.#ready.push({ id, replica: first.replica, atMs, present });
    }
    this.#onDeath();
  }
}
