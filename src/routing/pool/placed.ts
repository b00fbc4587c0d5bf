import { POOL_PLACED_MAX } from "../../bounds.ts";
import type { Served } from "../messages.ts";
import type { Entry } from "./entry.ts";
import type { Replica } from "./replica.ts";

interface Placed {
  readonly replica: string;
  readonly bootId: string;
  readonly promptTokens: number;
  readonly cachedTokens: number;
  /** No other prompt was ahead of it, so its first token tells of the replica's speed. */
  readonly alone: boolean;
  started: boolean;
}

/** Where requests were sent lately and what was believed of them, until the gate says what the engine found. */
export class PlacedRequests {
  readonly #placed = new Map<string, Placed>();

  sent({ id, work, cachedTokens }: Entry, replica: Replica): void {
    const { bootId } = replica.report;
    const alone = replica.prefill.count === 0;
    const { promptTokens } = work;
    this.#placed.delete(id);
    this.#placed.set(id, { replica: replica.id, bootId, promptTokens, cachedTokens, alone, started: false });
    if (this.#placed.size <= POOL_PLACED_MAX) return;
    this.#placed.delete(this.#placed.keys().next().value!);
  }

  started(id: string): void {
    const placed = this.#placed.get(id);
    if (placed) placed.started = true;
  }

  /** Corrects what is believed of a replica's cache, and of its speed where nobody told of the first token. */
  served({ id, promptTokens, cachedTokens, firstTokenMs }: Served, replicas: Map<string, Replica>): void {
    const placed = this.#placed.get(id);
    if (!placed) return;
    this.#placed.delete(id);
    const replica = replicas.get(placed.replica);
    if (!replica || replica.report.bootId !== placed.bootId) return;
    // The estimated length may be off by a fifth; what was believed is put in terms of the counted one.
    const believed = (placed.cachedTokens * promptTokens) / Math.max(1, placed.promptTokens);
    replica.index.corrected(believed, cachedTokens, promptTokens);
    if (placed.started || !placed.alone || firstTokenMs === null) return;
    replica.prefill.speed.measured(promptTokens - cachedTokens, firstTokenMs);
  }
}
