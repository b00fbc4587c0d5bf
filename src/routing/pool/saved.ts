import { PREFIX_SNAPSHOT_MAX_BYTES } from "../../bounds.ts";
import type { SavedSpeed } from "./prefill.ts";
import type { Replica } from "./replica.ts";

/** What of one replica is worth writing down: a pool that restarts starts warm. */
export interface SavedReplica {
  readonly id: string;
  readonly bootId: string;
  readonly speed: SavedSpeed;
  readonly boundTokens: number;
  readonly blockTokens: number;
  /** Names of the blocks in its index, oldest first: 8 bytes each. */
  readonly blocks: Float64Array;
}

export function savedReplicas(replicas: ReadonlyMap<string, Replica>): SavedReplica[] {
  const count = Math.floor(PREFIX_SNAPSHOT_MAX_BYTES / 8 / Math.max(1, replicas.size));
  return [...replicas.values()].map(({ id, report, index, prefill }) => {
    return { id, bootId: report.bootId, speed: prefill.speed.save(), ...index.save(count) };
  });
}

/** Takes up what was saved of a replica, unless it is another process by now: then only its speed still holds. */
export function restore(replica: Replica, saved: SavedReplica): void {
  replica.prefill.speed.load(saved.speed);
  if (saved.bootId === replica.report.bootId) replica.index.load(saved);
}
