import { DurableObject } from "cloudflare:workers";
import { CATALOGUE_POLL_MS, OBJECT_CALL_TIMEOUT_MS, POOL_WATCH_TTL_MS, POOLS_MAX } from "../bounds.ts";
import type { Catalogue, LocationHint } from "../catalogue.ts";
import { withDeadline } from "../deadline.ts";
import type { Env } from "../env.ts";
import type { MeasuredRtt, PoolState, RttReport, Snapshot } from "../routing/messages.ts";
import { folded } from "../routing/rtt.ts";
import { migrate } from "./schema.ts";
import { regionPool, registryReader } from "./stub.ts";

/**
 * The latest state of every pool and the way to it, near its readers; nothing else. Read by Workers every other second while there
 * is traffic. It works only while somebody reads it: then it renews its subscriptions with the pools and asks the
 * registry for a newer catalogue. With either out of reach it goes on with what it has.
 */
export class Directory extends DurableObject<Env> {
  #catalogue: Catalogue | null;
  #checkedAtMs = 0;
  #watchedAtMs = 0;
  #watchedVersion = -1;
  readonly #pools = new Map<string, PoolState>();
  /** By pool. In memory only: what is lost is soon measured again, and until then distance serves. */
  readonly #rtts = new Map<string, MeasuredRtt>();

  constructor(ctx: DurableObjectState, env: Env) {
    super(ctx, env);
    migrate(ctx.storage.sql, ["CREATE TABLE catalogue (id INTEGER PRIMARY KEY CHECK (id = 1), body TEXT)"]);
    const [row] = ctx.storage.sql.exec<{ body: string }>("SELECT body FROM catalogue").toArray();
    this.#catalogue = row ? (JSON.parse(row.body) as Catalogue) : null;
  }

  /**
   * `knownVersion` is the reader's catalogue: it is sent again only when there is a newer one. Readers bring along what
   * round trips they measured: so all isolates of a location share them without another call.
   */
  async snapshot(knownVersion: number, measured: readonly RttReport[] = []): Promise<Snapshot> {
    const nowMs = Date.now();
    const sinceCheckMs = nowMs - this.#checkedAtMs;
    // A directory that was not read for a while may be far behind: this reader waits for the registry's word.
    if (this.#catalogue === null || sinceCheckMs > 2 * CATALOGUE_POLL_MS) await this.#check(nowMs);
    else if (sinceCheckMs > CATALOGUE_POLL_MS) this.ctx.waitUntil(this.#check(nowMs));

    const catalogue = this.#catalogue;
    // An empty one in its place would deny every model as unknown.
    if (catalogue === null) throw new Error("no catalogue yet: the registry is out of reach");
    this.#measure(measured, catalogue, nowMs);
    const due =
      nowMs - this.#watchedAtMs > POOL_WATCH_TTL_MS / 3 || this.#watchedVersion !== catalogue.version;
    if (due) {
      this.#watchedAtMs = nowMs;
      this.#watchedVersion = catalogue.version;
      const watching = this.#watch(catalogue);
      if (this.#pools.size === 0) await watching;
      else this.ctx.waitUntil(watching);
    }
    return {
      catalogue: catalogue.version === knownVersion ? null : catalogue,
      catalogueVersion: catalogue.version,
      pools: [...this.#pools.values()],
      rtts: [...this.#rtts.values()],
    };
  }

  /** A pool's word. Late ones are recognised by their epoch. */
  publish(state: PoolState): void {
    const key = `${state.pool}/${state.model}/${state.cell ?? 0}`;
    const known = this.#pools.get(key);
    if (known && known.epoch > state.epoch) return;
    this.#pools.set(key, state);
    if (state.cell !== 0) return;
    this.#forgetCells(state);
    // The next reader subscribes to cells that are new.
    if ((state.cells ?? 1) > (known?.cells ?? 1)) this.#watchedAtMs = 0;
  }

  /** A pool that has shrunk has fewer cells; its first one says how many. */
  #forgetCells({ pool, model, cells = 1 }: PoolState): void {
    for (const [key, state] of this.#pools) {
      if (state.pool === pool && state.model === model && (state.cell ?? 0) >= cells) this.#pools.delete(key);
    }
  }

  #cellsOf(pool: string, model: string): number {
    return this.#pools.get(`${pool}/${model}/0`)?.cells ?? 1;
  }

  #measure(measured: readonly RttReport[], catalogue: Catalogue, nowMs: number): void {
    for (const report of measured.slice(0, POOLS_MAX)) {
      if (!catalogue.pools.some(({ id }) => id === report.pool)) continue;
      this.#rtts.set(report.pool, folded(this.#rtts.get(report.pool), report, nowMs));
    }
  }

  async #check(nowMs: number): Promise<void> {
    this.#checkedAtMs = nowMs;
    try {
      const newer = await withDeadline(
        registryReader(this.env).catalogue(this.#catalogue?.version ?? -1),
        OBJECT_CALL_TIMEOUT_MS / 2,
      );
      if (newer === null) return;
      this.#catalogue = newer;
      this.ctx.storage.sql.exec(
        "INSERT OR REPLACE INTO catalogue (id, body) VALUES (1, ?)",
        JSON.stringify(newer),
      );
      const served = new Set(
        newer.pools.flatMap((pool) => pool.models.map(({ model }) => `${pool.id}/${model}`)),
      );
      for (const [key, { pool, model }] of this.#pools) {
        if (!served.has(`${pool}/${model}`)) this.#pools.delete(key);
      }
      const pools = new Set(newer.pools.map(({ id }) => id));
      for (const pool of this.#rtts.keys()) if (!pools.has(pool)) this.#rtts.delete(pool);
    } catch {
      // The registry is out of reach: routing goes on with the last catalogue (control plane only).
    }
  }

  async #watch(catalogue: Catalogue): Promise<void> {
    const hint = this.ctx.id.name as LocationHint;
    const calls = catalogue.pools.flatMap((pool) =>
      pool.models.flatMap(({ model }) =>
        Array.from({ length: this.#cellsOf(pool.id, model) }, (_, cell) => {
          const watching = regionPool(this.env, pool.id, pool.hint, model, cell).watch(hint);
          return withDeadline(watching, OBJECT_CALL_TIMEOUT_MS / 2);
        }),
      ),
    );
    for (const result of await Promise.allSettled(calls)) {
      if (result.status === "fulfilled") this.publish(result.value);
    }
  }
}
