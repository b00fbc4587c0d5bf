import { BANDS, type Band } from "../messages.ts";
import { type Entry, kvTokensOf } from "./entry.ts";
import type { Fleet } from "./fleet.ts";
import { compare, type Order } from "./order.ts";
import { type Holding, kvShares, type Replica } from "./replica.ts";

/** What goes before a request at its replica. */
export interface Before {
  readonly tokens: number;
  readonly requests: number;
  readonly kvTokens: number;
}

export const NOTHING_BEFORE: Before = { tokens: 0, requests: 0, kvTokens: 0 };

/** Those held at a replica that its order would send before this one. */
export function beforeOf(entry: Entry, held: Iterable<Entry>, order: Order): Before {
  let [tokens, requests, kvTokens] = [0, 0, 0];
  const place = order.placeOf(entry);
  for (const other of held) {
    if (other.id === entry.id || compare(order.placeOf(other), place) > 0) continue;
    tokens += other.uncachedTokens;
    requests += 1;
    kvTokens += kvTokensOf(other.work);
  }
  return { tokens, requests, kvTokens };
}

/** What there is to wait for at one replica now. */
export class ReplicaWaits {
  readonly aheadTokens: number;
  readonly tokensPerMs: number;
  /** Its permits are all out. */
  readonly isStuck: boolean;
  readonly #permitMs: number;
  readonly #limit: number;
  readonly #load: number;
  readonly #kvTokens: number;
  readonly #cacheTokens: number;
  readonly #batchLeaves: number;
  readonly #holding: Holding;

  constructor(fleet: Fleet, replica: Replica, nowMs: number) {
    const { prefill, report, permitMs, kvTakenTokens } = replica;
    [this.aheadTokens, this.tokensPerMs] = [prefill.aheadTokens(nowMs), prefill.speed.tokensPerMs];
    [this.#permitMs, this.#kvTokens] = [permitMs ?? 0, kvTakenTokens];
    [this.#load, this.#limit] = [fleet.loadOf(replica, nowMs), fleet.limitOf(replica, nowMs)];
    this.isStuck = this.#load >= this.#limit;
    [this.#holding, this.#batchLeaves] = [fleet.holding, fleet.batchLeaves];
    this.#cacheTokens = report.cacheTokens ?? Infinity;
  }

  /**
   * Until a request is sent, with that much before it: the longest of three waits. For the prompts before it, at the
   * measured speed; for a permit and for KV memory, at the pace at which they came back so far (mean time of a permit ÷
   * how many there are), of which there are as many as its band may take. What nothing was measured of yet waits for
   * nothing.
   */
  msOf({ work }: Entry, before: Before): number {
    const ahead = this.aheadTokens + before.tokens - this.#holding.prefillAheadTokens;
    const prefillMs = Math.max(0, ahead) / this.tokensPerMs;
    const isBatch = work.band === "batch";
    const limit = isBatch ? Math.max(1, this.#limit * (1 - this.#batchLeaves)) : this.#limit;
    const permits = Math.max(0, this.#load + before.requests + 1 - limit);
    const kvWanted = this.#kvTokens + before.kvTokens + kvTokensOf(work);
    const kvRoom = Math.max(1, kvShares(this.#holding, this.#batchLeaves)[work.band] * this.#cacheTokens);
    const kvMs = kvWanted <= kvRoom ? 0 : ((kvWanted - kvRoom) * this.#permitMs) / kvRoom;
    return Math.max(prefillMs, (permits * this.#permitMs) / limit, kvMs);
  }
}

/** From being sent to its first token. */
export function firstTokenMsAt({ prefill }: Replica, uncachedTokens: number, aheadTokens: number): number {
  return prefill.speed.baseMs + (aheadTokens + uncachedTokens) / prefill.speed.tokensPerMs;
}

/** Upper edges of the histogram of `real − predicted`, in milliseconds; a last bin takes what is above. */
export const WAIT_ERROR_EDGES_MS = [
  -10_000, -3_000, -1_000, -300, -100, -30, 30, 100, 300, 1_000, 3_000, 10_000,
] as const;

/** How far the predicted waits were off. Who left or was refused meanwhile waited at least as long as is counted. */
export class WaitErrors {
  readonly #counts: Record<Band, number[]> = { interactive: bins(), default: bins(), batch: bins() };

  ended({ predictedWaitMs, askedAtMs, work: { band } }: Entry, nowMs: number): void {
    if (predictedWaitMs === null) return;
    const error = nowMs - askedAtMs - predictedWaitMs;
    const at = WAIT_ERROR_EDGES_MS.findIndex((edge) => error <= edge);
    this.#counts[band][at < 0 ? WAIT_ERROR_EDGES_MS.length : at]! += 1;
  }

  view(): Record<Band, readonly number[]> {
    const copy: [Band, readonly number[]][] = BANDS.map((band) => [band, [...this.#counts[band]]]);
    return Object.fromEntries(copy) as Record<Band, readonly number[]>;
  }
}

function bins(): number[] {
  return new Array<number>(WAIT_ERROR_EDGES_MS.length + 1).fill(0);
}
