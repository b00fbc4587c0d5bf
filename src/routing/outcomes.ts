import { OUTCOME_SLOT_MS, OUTCOME_WINDOW_MS, WAIT_BUCKET_FIRST_MS, WAIT_BUCKETS } from "../bounds.ts";
import type { Tally } from "../contract/report.ts";
import type { Heartbeat, Outcomes } from "./messages.ts";

export const NO_OUTCOMES: Outcomes = { ok: 0, failed: 0, waits: [] };

/** Upper end of a bucket in milliseconds; the last one has none. */
export function bucketEndMs(bucket: number): number {
  return bucket >= WAIT_BUCKETS - 1 ? Infinity : WAIT_BUCKET_FIRST_MS * 2 ** (bucket / 4);
}

export function sumOf(all: readonly Outcomes[]): Outcomes {
  const waits: number[] = Array<number>(WAIT_BUCKETS).fill(0);
  for (const { waits: more } of all) for (const [bucket, count] of more.entries()) waits[bucket]! += count;
  return {
    ok: all.reduce((sum, { ok }) => sum + ok, 0),
    failed: all.reduce((sum, { failed }) => sum + failed, 0),
    waits,
  };
}

/** What a gate counted, as outcomes. Overload is no fault of a revision: the pool was full. */
export function outcomesOf(tallies: readonly Tally[]): Outcomes {
  const waits: number[] = Array<number>(WAIT_BUCKETS).fill(0);
  for (const [bucket, count] of tallies.flatMap((tally) => tally.waits ?? [])) {
    waits[Math.min(bucket, WAIT_BUCKETS - 1)]! += count;
  }
  return {
    ok: tallies.reduce((sum, { ok }) => sum + ok, 0),
    failed: tallies.reduce((sum, { failed }) => sum + failed, 0),
    waits,
  };
}

/** The last ten minutes, forgotten in slots. In memory: what dies with it delays a judgement and falsifies none. */
export class OutcomeWindow {
  /** The number of each gate's last batch. */
  readonly #heard = new Map<string, number>();
  #slots: { readonly slot: number; readonly outcomes: Outcomes }[] = [];

  /** One gate's word, once: a batch that is sent again keeps its number. */
  hear({ gate, sequence, tallies }: Pick<Heartbeat, "gate" | "sequence" | "tallies">, nowMs: number): void {
    if (this.#heard.get(gate) !== sequence) this.add(outcomesOf(tallies), nowMs);
    this.#heard.set(gate, sequence);
  }

  add(outcomes: Outcomes, nowMs: number): void {
    const slot = Math.floor(nowMs / OUTCOME_SLOT_MS);
    const last = this.#slots.at(-1);
    // A clock that steps back must not reopen a slot: what it would add belongs to the newest.
    if (last && last.slot >= slot)
      this.#slots[this.#slots.length - 1] = { slot: last.slot, outcomes: sumOf([last.outcomes, outcomes]) };
    else this.#slots.push({ slot, outcomes });
    this.#forget(slot);
  }

  /**
   * All since `sinceMs`, in whole slots: the one that holds the instant is in. A revision that fails from its first request
   * on is soon behind an open breaker, so what it did at first is all that there is to see.
   */
  since(sinceMs: number, nowMs: number): Outcomes {
    this.#forget(Math.floor(nowMs / OUTCOME_SLOT_MS));
    const counted = this.#slots.filter(({ slot }) => (slot + 1) * OUTCOME_SLOT_MS > sinceMs);
    return sumOf(counted.map(({ outcomes }) => outcomes));
  }

  #forget(slot: number): void {
    const oldest = slot - OUTCOME_WINDOW_MS / OUTCOME_SLOT_MS;
    this.#slots = this.#slots.filter((kept) => kept.slot > oldest);
  }
}
