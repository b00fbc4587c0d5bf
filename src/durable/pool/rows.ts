import { POOL_SAVE_MS } from "../../bounds.ts";
import type { ReplicaReport } from "../../contract/report.ts";
import { COLD } from "../../limits/estimate.ts";
import type { Learned } from "../../limits/messages.ts";
import type { Pool, SavedReplica } from "../../routing/pool.ts";
import { migrate } from "../schema.ts";

type PoolRow = { replicas: string; epoch: number; learned: string | null; breakers: string | null };
type MemoryRow = { replica: string; told: string; blocks: ArrayBuffer };

/** What a pool's object remembers over a restart. Permits are not among it: no request costs a row. */
export class PoolRows {
  readonly #sql: SqlStorage;
  readonly replicas: readonly ReplicaReport[];
  readonly learned: Learned;
  readonly breakers: unknown;
  /** Higher than any of the life before. */
  readonly epoch: number;
  #savedReplicas = "";
  #memorySavedAtMs: number;

  constructor(sql: SqlStorage, nowMs: number) {
    this.#sql = sql;
    this.#memorySavedAtMs = nowMs;
    migrate(sql, [
      "CREATE TABLE pool (id INTEGER PRIMARY KEY CHECK (id = 1), replicas TEXT, epoch INTEGER)",
      "ALTER TABLE pool ADD COLUMN learned TEXT",
      `ALTER TABLE pool ADD COLUMN breakers TEXT;
       CREATE TABLE replica_memory (replica TEXT PRIMARY KEY, told TEXT NOT NULL, blocks BLOB NOT NULL)`,
    ]);
    const [row] = sql.exec<PoolRow>("SELECT * FROM pool").toArray();
    // Epochs leave room for the changes of this life that were not written.
    this.epoch = (row?.epoch ?? 0) + 1_000_000;
    sql.exec(
      "INSERT INTO pool (id, replicas, epoch) VALUES (1, ?, ?) ON CONFLICT DO UPDATE SET epoch = excluded.epoch",
      row?.replicas ?? "[]",
      this.epoch,
    );
    this.replicas = JSON.parse(row?.replicas ?? "[]") as ReplicaReport[];
    this.learned = row?.learned ? (JSON.parse(row.learned) as Learned) : COLD;
    this.breakers = row?.breakers ? (JSON.parse(row.breakers) as unknown) : null;
  }

  memory(): SavedReplica[] {
    return this.#sql
      .exec<MemoryRow>("SELECT * FROM replica_memory")
      .toArray()
      .map(({ told, blocks }) => ({
        ...(JSON.parse(told) as Omit<SavedReplica, "blocks">),
        blocks: new Float64Array(blocks),
      }));
  }

  saveLearned(learned: Learned): void {
    this.#sql.exec("UPDATE pool SET learned = ? WHERE id = 1", JSON.stringify(learned));
  }

  /** Replicas and their breakers, so that a pool without a heartbeat yet can serve. Called when they changed. */
  saveReplicas(pool: Pool): void {
    const replicas = JSON.stringify(pool.reports());
    const breakers = JSON.stringify(pool.breakers.save());
    if (replicas + breakers === this.#savedReplicas) return;
    this.#savedReplicas = replicas + breakers;
    this.#sql.exec("UPDATE pool SET replicas = ?, breakers = ? WHERE id = 1", replicas, breakers);
  }

  /** What is believed of the replicas' caches and speeds: seldom, since it is learned again from the next traffic. */
  saveMemory(pool: Pool, nowMs: number): void {
    if (nowMs - this.#memorySavedAtMs < POOL_SAVE_MS) return;
    this.#memorySavedAtMs = nowMs;
    this.#sql.exec("DELETE FROM replica_memory");
    for (const { blocks, ...told } of pool.save()) {
      const text = JSON.stringify(told);
      this.#sql.exec("INSERT INTO replica_memory VALUES (?, ?, ?)", told.id, text, blocks.slice().buffer);
    }
  }
}
