import { urgencyOf } from "./bands.ts";
import { cachedTokensOf, type Entry, kvTokensOf } from "./entry.ts";
import type { Fleet } from "./fleet.ts";
import type { Order } from "./order.ts";
import { fits, NO_ROOM, type Replica, type Room } from "./replica.ts";
import { NOTHING_BEFORE, ReplicaWaits } from "./waits.ts";

/** How much a token to compute weighs against one to wait for, when an idle replica takes over; as in the policy. */
const WEIGHT = 3;
/** Held requests that one idle replica looks at; the queue is bounded, its search is too. */
const LOOKS_MAX = 256;
/** A queue from which nothing was gained, and an idle replica, neither changed since: time alone changes little so soon. */
const LOOK_AGAIN_MS = 50;

interface Search {
  readonly idle: Replica;
  readonly room: Room;
  /** Of normal work that it may take. */
  readonly share: number;
  /** Only what is more urgent than that. */
  readonly below: number;
  readonly nowMs: number;
  looks: number;
  best: Entry | null;
  gain: number;
}

/** How both were when an idle replica found nothing to gain in another's queue. */
interface Vain {
  readonly idleRevision: number;
  readonly fromRevision: number;
  readonly atMs: number;
  readonly looks: number;
}

/** Finds what an idle replica should take over from the queues of others. */
export class TakeOver {
  readonly #fleet: Fleet;
  readonly #vain = new WeakMap<Replica, WeakMap<Replica, Vain>>();

  constructor(fleet: Fleet) {
    this.#fleet = fleet;
  }

  /**
   * The request that gains most from this idle replica: its wait and work where it is against those here. With `instead`
   * the replica has work of its own, and only what is more urgent than that may come.
   */
  best(
    idle: Replica,
    orderOf: (replica: Replica) => Order,
    nowMs: number,
    instead: Entry | null,
  ): Entry | null {
    const below = instead === null ? Infinity : urgencyOf(instead, nowMs);
    const room = below === 0 ? NO_ROOM : this.#fleet.roomOf(idle, nowMs);
    if (room === NO_ROOM) return null;
    const share = this.#fleet.shareOf(idle, nowMs);
    const search: Search = { idle, room, share, below, nowMs, looks: 0, best: null, gain: 0 };
    for (const from of this.#fleet.replicas.values()) {
      if (from === idle || from.held.size === 0 || search.looks >= LOOKS_MAX) continue;
      if (below === Infinity) this.#lookAnew(search, from, orderOf);
      else if (from.held.urgency(nowMs) < below) this.#look(search, from, orderOf(from));
      else search.looks += 1;
    }
    return search.best;
  }

  /** An idle replica is asked at every event, and most events change one replica. */
  #lookAnew(search: Search, from: Replica, orderOf: (replica: Replica) => Order): void {
    const { idle, nowMs } = search;
    const ofIdle = this.#vain.get(idle) ?? new WeakMap<Replica, Vain>();
    this.#vain.set(idle, ofIdle);
    const [idleRevision, fromRevision] = [idle.revision, from.revision];
    const vain = ofIdle.get(from);
    const isSame = vain?.idleRevision === idleRevision && vain.fromRevision === fromRevision;
    if (isSame && nowMs - vain.atMs < LOOK_AGAIN_MS) {
      // As if it had looked: the bound is on how far from home requests are searched, too.
      search.looks += vain.looks;
      return;
    }
    const [before, looksBefore] = [search.best, search.looks];
    this.#look(search, from, orderOf(from));
    const lookedAtAll = search.looks <= LOOKS_MAX && before === null;
    const looks = search.looks - looksBefore;
    if (lookedAtAll && search.best === null) {
      ofIdle.set(from, { idleRevision, fromRevision, atMs: nowMs, looks });
    }
  }

  #look(search: Search, from: Replica, order: Order): void {
    const { idle, room, nowMs } = search;
    const waits = new ReplicaWaits(this.#fleet, from, nowMs);
    let before = NOTHING_BEFORE;
    for (const entry of order.sorted(from.held.values())) {
      if (++search.looks > LOOKS_MAX || urgencyOf(entry, nowMs) >= search.below) break;
      const blockedMs = waits.msOf(entry, before);
      const ahead = Math.max(waits.aheadTokens + before.tokens, blockedMs * waits.tokensPerMs);
      const there = ahead + WEIGHT * entry.uncachedTokens;
      before = {
        tokens: before.tokens + entry.uncachedTokens,
        requests: before.requests + 1,
        kvTokens: before.kvTokens + kvTokensOf(entry.work),
      };
      // A queue that cannot move for want of permits is left by whoever may, whatever is measured so far.
      const isStuck = waits.isStuck && search.best === null;
      if (there <= search.gain && !isStuck) continue;
      if (!fits(entry, room) || entry.exclude.includes(idle.id)) continue;
      const { work } = entry;
      const uncachedTokens = work.promptTokens - cachedTokensOf(work, idle.index.hits(work.blocks));
      const here = idle.boundTokens(nowMs, work.band) + WEIGHT * uncachedTokens;
      const gain = there - here / search.share;
      if (gain > search.gain || isStuck) [search.best, search.gain] = [entry, Math.max(0, gain)];
    }
  }
}
