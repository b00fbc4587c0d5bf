import { POOL_QUEUE_MAX, POOL_QUEUE_MAX_BYTES } from "../../bounds.ts";
import type { Band } from "../messages.ts";
import { BandShares } from "./bands.ts";
import { Deadlines } from "./deadlines.ts";
import { type Entry, SMALL_WORK } from "./entry.ts";
import { FairShares } from "./fairness.ts";
import type { Fleet } from "./fleet.ts";
import { Order } from "./order.ts";
import { fits, type Replica } from "./replica.ts";
import { TakeOver } from "./take-over.ts";
import { beforeOf, firstTokenMsAt, ReplicaWaits, WaitErrors } from "./waits.ts";

/** An output token holds the engine longer than one of the prompt (VTC weighs them 1 : 2). */
const OUTPUT_WEIGHT = 2;
/**
 * Requests that are bound to a replica and not sent yet. One central queue would destroy affinity (replay §8), so each
 * replica has its own, in the pool's hands: an idle one takes over, and those of one that fails are bound anew.
 */
export class HeldQueue {
  readonly #fleet: Fleet;
  readonly #bands = new BandShares();
  readonly #fair = new FairShares();
  readonly #all = new Map<string, Entry>();
  readonly #ends = new Deadlines();
  readonly errors = new WaitErrors();
  readonly #takeOver: TakeOver;
  #bytes = 0;

  constructor(fleet: Fleet) {
    this.#fleet = fleet;
    this.#takeOver = new TakeOver(fleet);
  }

  get size(): number {
    return this.#all.size;
  }

  get(id: string): Entry | undefined {
    return this.#all.get(id);
  }

  /** When the next one has waited as long as it may; infinite when nobody waits. */
  nextEndMs(): number {
    return this.#ends.nextMs();
  }

  /** Those who have, in that order; they are out of the queue. */
  takeEnded(nowMs: number): Entry[] {
    const ended: Entry[] = [];
    for (let id = this.#ends.takeDue(nowMs); id !== null; id = this.#ends.takeDue(nowMs)) {
      const entry = this.#all.get(id);
      if (!entry) throw new Error("pool: a wait ended of somebody who does not wait");
      this.abandon(entry, nowMs);
      ended.push(entry);
    }
    return ended;
  }

  isFull(bytes: number): boolean {
    return this.#all.size >= POOL_QUEUE_MAX || this.#bytes + bytes > POOL_QUEUE_MAX_BYTES;
  }

  hold(entry: Entry): void {
    this.#all.set(entry.id, entry);
    this.#ends.set(entry.id, entry.untilMs);
    this.#bytes += entry.work.bytes;
    this.#fair.arrives(entry.work.tenant);
    this.#replicaOf(entry)?.hold(entry);
  }

  /** It left, was sent, or its time is over. */
  remove(entry: Entry, nowMs: number): void {
    if (!this.#all.delete(entry.id)) return;
    this.#ends.delete(entry.id);
    this.#bytes -= entry.work.bytes;
    this.#fair.leaves(entry.work.tenant);
    this.#replicaOf(entry)?.unhold(entry);
    this.errors.ended(entry, nowMs);
  }

  /** It left without being sent: its replica will not have what only this one would have brought. */
  abandon(entry: Entry, nowMs: number): void {
    this.remove(entry, nowMs);
    this.#replicaOf(entry)?.index.forget(entry.work.blocks, entry.hitBlocks);
  }

  /** Counts what a request is served, waiting or not. */
  served({ work, uncachedTokens }: Entry): void {
    this.#fair.serves(work.tenant, uncachedTokens + OUTPUT_WEIGHT * work.outputTokens);
    this.#bands.sent(work.band, uncachedTokens);
    this.#fleet.mix.sent(work.band, uncachedTokens);
  }

  /** The next one that may be sent to this replica now. */
  next(replica: Replica, nowMs: number): Entry | null {
    if (replica.held.size === 0) return null;
    const room = this.#fleet.roomOf(replica, nowMs);
    if (replica.held.noneFits(room)) return null;
    return this.#order(replica, nowMs).next(replica.held.values(), (entry) => fits(entry, room));
  }

  /** Whether somebody who waits at this replica goes before this one. */
  isBehind(entry: Entry, replica: Replica, nowMs: number): boolean {
    const next = this.next(replica, nowMs);
    return next !== null && this.#order(replica, nowMs).isBefore(next, entry);
  }

  predictedWaitMs(entry: Entry, replica: Replica, nowMs: number): number {
    const order = this.#order(replica, nowMs);
    const before = beforeOf(entry, replica.held.values(), order);
    return new ReplicaWaits(this.#fleet, replica, nowMs).msOf(entry, before);
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

  /** See `TakeOver`. */
  takeOver(idle: Replica, nowMs: number, instead: Entry | null = null): Entry | null {
    const orderOf = (replica: Replica) => this.#order(replica, nowMs);
    return this.#takeOver.best(idle, orderOf, nowMs, instead);
  }

  /** What a small request of this band that came now would wait at the best replica; 0 where none is usable. */
  waitMsOf(band: Band, usable: readonly Replica[], nowMs: number): number {
    let least = Infinity;
    for (const replica of usable) {
      const small: Entry = { ...PROBE, work: { ...SMALL_WORK, band } };
      const waits = new ReplicaWaits(this.#fleet, replica, nowMs);
      least = Math.min(least, waits.msOf(small, replica.held.before(band)));
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
