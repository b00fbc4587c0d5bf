import type { Grant, Refused } from "../messages.ts";
import { RETRY_NO_REPLICA_MS, refused } from "./answers.ts";
import type { Entry } from "./entry.ts";
import type { Fleet } from "./fleet.ts";
import type { HeldQueue } from "./queue.ts";
import type { Replica } from "./replica.ts";

/** Somebody who waited, and what to tell them. */
export interface Resolved {
  readonly id: string;
  readonly answer: Grant | Refused;
}

/** Whatever can move now: requests of replicas that fail are bound anew, then each queue, then who is idle. */
export function dispatched(
  fleet: Fleet,
  queue: HeldQueue,
  send: (entry: Entry, replica: Replica) => Grant,
  takesOver: boolean,
  nowMs: number,
): Resolved[] {
  const resolved: Resolved[] = [];
  for (const replica of fleet.replicas.values()) replica.prefill.expire(nowMs);
  if (queue.size === 0) return resolved;
  for (const replica of fleet.replicas.values()) {
    if (replica.held.size > 0 && !fleet.isUsable(replica, nowMs))
      rebind(replica, fleet, queue, resolved, nowMs);
  }
  const give = (entry: Entry, replica: Replica) => {
    queue.remove(entry, nowMs);
    resolved.push({ id: entry.id, answer: send(entry, replica) });
  };
  for (const replica of fleet.replicas.values()) {
    for (let next = queue.next(replica, nowMs); next !== null; next = queue.next(replica, nowMs)) {
      const urgent = takesOver && queue.yields(next) ? queue.takeOver(replica, nowMs, next) : null;
      if (urgent !== null) queue.move(urgent, () => fleet.choose([replica], urgent, nowMs));
      give(urgent ?? next, replica);
    }
  }
  for (const idle of takesOver ? fleet.usable([], nowMs) : []) {
    while (queue.size > 0 && idle.held.size === 0) {
      const entry = queue.takeOver(idle, nowMs);
      if (entry === null) break;
      queue.move(entry, () => fleet.choose([idle], entry, nowMs));
      give(entry, idle);
    }
  }
  return resolved;
}

function rebind(from: Replica, fleet: Fleet, queue: HeldQueue, resolved: Resolved[], nowMs: number): void {
  for (const entry of [...from.held.values()]) {
    const usable = fleet.usable(entry.exclude, nowMs);
    if (queue.move(entry, () => fleet.choose(usable, entry, nowMs))) continue;
    queue.remove(entry, nowMs);
    resolved.push({ id: entry.id, answer: refused("no_replica", RETRY_NO_REPLICA_MS) });
  }
}
