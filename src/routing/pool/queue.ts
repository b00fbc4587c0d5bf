import { POOL_QUEUE_MAX, POOL_QUEUE_MAX_BYTES } from "../../bounds.ts";
import type { Band } from "../messages.ts";
import { BandShares, urgencyOf } from "./bands.ts";
import { BAND_RANK, type Entry, SMALL_WORK } from "./entry.ts";
import { FairShares } from "./fairness.ts";
import type { Fleet } from "./fleet.ts";
import { Order } from "./order.ts";
import type { Replica } from "./replica.ts";
import { beforeOf, firstTokenMsAt, NOTHING_BEFORE, WaitErrors, waitMsAt } from "./waits.ts";

/** An output token holds the engine longer than one of the prompt (VTC weighs them 1 : 2). */
const OUTPUT_WEIGHT = 2;
/** How much a token to compute weighs against one to wait for, when an idle replica takes over; as in the policy. */
const TAKE_OVER_WEIGHT = 3;
/** Held requests that one idle replica looks at; the queue is bounded, its search is too. */
const TAKE_OVER_LOOKS_MAX = 256;

/**
 * Requests that are bound to a replica and not sent yet. One central queue would destroy affinity (replay §8), so each
 * replica has its own, in the pool's hands: an idle one takes over, and those of one that fails are bound anew.
 */
export class HeldQueue {
  readonly #fleet: Fleet;
  readonly #bands = new BandShares();
  readonly #fair = new FairShares();
  readonly #all = new Map<string, Entry>();
  readonly errors = new WaitErrors();
  #bytes = 0;

  constructor(fleet: Fleet) {
    this.#fleet = fleet;
  }

  get size(): number {
    return this.#all.size;
  }

  get(id: string): Entry | undefined {
    return this.#all.get(id);
  }

  entries(): IterableIterator<Entry> {
    return this.#all.values();
  }

  isFull(bytes: number): boolean {
    return this.#all.size >= POOL_QUEUE_MAX || this.#bytes + bytes > POOL_QUEUE_MAX_BYTES;
  }

  hold(entry: Entry): void {
    this.#all.set(entry.id, entry);
    this.#bytes += entry.work.bytes;
    this.#fair.arrives(entry.work.tenant);
    this.#replicaOf(entry)?.hold(entry);
  }

  /** It left, was sent, or its time is over. */
  remove(entry: Entry, nowMs: number): void {
    if (!this.#all.delete(entry.id)) return;
    this.#bytes -= entry.work.bytes;
    this.#fair.leaves(entry.work.tenant);
    this.#replicaOf(entry)?.unhold(entry);
    this.errors.ended(entry, nowMs);
  }

  /** Counts what a request is served, waiting or not. */
  served({ work, uncachedTokens }: Entry): void {
    this.#fair.serves(work.tenant, uncachedTokens + OUTPUT_WEIGHT * work.outputTokens);
    this.#bands.sent(work.band, uncachedTokens);
  }

  /** The next one that may be sent to this replica now. */
  next(replica: Replica, nowMs: number): Entry | null {
    if (replica.held.size === 0) return null;
    return this.#order(replica, nowMs).next(replica.held.values(), (entry) =>
      this.#fleet.mayTake(replica, entry, nowMs),
    );
  }

  /** Whether somebody who waits at this replica goes before this one. */
  isBehind(entry: Entry, replica: Replica, nowMs: number): boolean {
    if (replica.held.size === 0) return false;
    const next = this.next(replica, nowMs);
    return next !== null && this.#order(replica, nowMs).compare(next, entry) < 0;
  }

  predictedWaitMs(entry: Entry, replica: Replica, nowMs: number): number {
    const order = this.#order(replica, nowMs);
    return waitMsAt(this.#fleet, replica, entry, beforeOf(entry, replica.held.values(), order), nowMs);
  }

  /** Moves a held request to another replica's queue. What only it would have brought to the old one is forgotten. */
  move(entry: Entry, choose: () => Replica | null): Replica | null {
    const old = this.#replicaOf(entry);
    old?.unhold(entry);
    old?.index.forget(entry.work.blocks, entry.hitBlocks);
    const chosen = choose();
    chosen?.hold(entry);
    return chosen;
  }

  /** Whether it lets a more urgent one go first that waits elsewhere: not while its band lacks its reserved share. */
  yields({ work }: Entry): boolean {
    return !this.#bands.isShort(work.band);
  }

  /**
   * The request that gains most from this idle replica: its wait and work where it is against those here. With `instead`
   * the replica has work of its own, and only what is more urgent than that may come.
   */
  takeOver(idle: Replica, nowMs: number, instead: Entry | null = null): Entry | null {
    const urgency = instead === null ? Infinity : urgencyOf(instead, nowMs);
    if (urgency === 0) return null;
    let [best, bestGain, looks] = [null as Entry | null, 0, 0];
    for (const from of this.#fleet.replicas.values()) {
      if (from === idle || from.held.size === 0 || looks >= TAKE_OVER_LOOKS_MAX) continue;
      const order = this.#order(from, nowMs);
      const speed = from.prefill.speed.tokensPerMs;
      let before = NOTHING_BEFORE;
      for (const entry of [...from.held.values()].sort((a, b) => order.compare(a, b))) {
        if (++looks > TAKE_OVER_LOOKS_MAX || urgencyOf(entry, nowMs) >= urgency) break;
        const blockedMs = waitMsAt(this.#fleet, from, entry, before, nowMs);
        const ahead = Math.max(from.prefill.aheadTokens(nowMs) + before.tokens, blockedMs * speed);
        const there = ahead + TAKE_OVER_WEIGHT * entry.uncachedTokens;
        const { tokens, requests, kvTokens } = before;
        before = { tokens: tokens + entry.uncachedTokens, requests: requests + 1, kvTokens };
        if (entry.exclude.includes(idle.id) || !this.#fleet.mayTake(idle, entry, nowMs)) continue;
        const { aheadTokens, uncachedTokens, share } = this.#fleet.choiceOf(idle, entry, nowMs);
        const gain = there - (aheadTokens + TAKE_OVER_WEIGHT * uncachedTokens) / share;
        // A queue that cannot move for want of permits is left by whoever may, whatever is measured so far.
        const stuck = this.#fleet.loadOf(from, nowMs) >= this.#fleet.limitOf(from, nowMs);
        if (gain > bestGain || (stuck && best === null)) [best, bestGain] = [entry, Math.max(0, gain)];
      }
    }
    return best;
  }

  /** What a small request of this band that came now would wait at the best replica; 0 where none is usable. */
  waitMsOf(band: Band, usable: readonly Replica[], nowMs: number): number {
    let least = Infinity;
    for (const replica of usable) {
      let [tokens, requests, kvTokens] = [0, 0, 0];
      for (const { work, uncachedTokens } of replica.held.values()) {
        if (BAND_RANK[work.band] > BAND_RANK[band]) continue;
        tokens += uncachedTokens;
        requests += 1;
        kvTokens += work.promptTokens + work.outputTokens;
      }
      const small: Entry = { ...PROBE, work: { ...SMALL_WORK, band } };
      const before = { tokens, requests, kvTokens };
      least = Math.min(least, waitMsAt(this.#fleet, replica, small, before, nowMs));
    }
    return Number.isFinite(least) ? Math.round(least) : 0;
  }

  /** What the best replica would need for an unseen prompt once it is sent: a base, and per token. */
  firstTokenMs(usable: readonly Replica[], nowMs: number): { baseMs: number; msPerToken: number } | null {
    let best: { baseMs: number; msPerToken: number } | null = null;
    for (const replica of usable) {
      const ahead = Math.min(replica.prefill.aheadTokens(nowMs), this.#fleet.holding.prefillAheadTokens);
      const baseMs = Math.round(firstTokenMsAt(replica, 0, ahead));
      const msPerToken = 1 / replica.prefill.speed.tokensPerMs;
      if (best === null || baseMs < best.baseMs) best = { baseMs, msPerToken };
    }
    return best;
  }

  #order(replica: Replica, nowMs: number): Order {
    return new Order(this.#bands, this.#fair, replica.prefill.speed.tokensPerMs, nowMs);
  }

  #replicaOf(entry: Entry): Replica | undefined {
    return this.#fleet.replicas.get(entry.replica);
  }
}

/** Stands for a request that comes now, where only its band and size count. */
const PROBE: Entry = {
  ...{
    id: "",
    exclude: [],
    work: SMALL_WORK,
    arrivedAtMs: 0,
    askedAtMs: 0,
    untilMs: 0,
    resumes: false,
    number: 0,
  },
  ...{ replica: "", hitBlocks: 0, cachedTokens: 0, uncachedTokens: 0, predictedWaitMs: null },
};
