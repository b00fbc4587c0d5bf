import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { CELL_REPLICAS_MAX } from "../../../src/bounds.ts";
import {
  cellKey,
  cellOfReplica,
  cellsFor,
  cellsInOrder,
  pooledCells,
  shareOf,
} from "../../../src/routing/cells.ts";
import type { PoolState, Work } from "../../../src/routing/messages.ts";

const WORK: Work = {
  promptTokens: 1_000,
  outputTokens: 100,
  blocks: [],
  blockTokens: 128,
  tenant: "t",
  band: "default",
  session: null,
  firstTokenByMs: null,
  bytes: 4_000,
};
const cells = fc.integer({ min: 1, max: 40 });

describe("cells of a large pool", () => {
  it("are as many as its replicas need", () => {
    expect([0, 1, 32, 33, 64, 65].map(cellsFor)).toEqual([1, 1, 1, 2, 2, 3]);
  });

  it("order each key as a permutation, the same each time", () => {
    fc.assert(
      fc.property(fc.string(), cells, (key, count) => {
        const order = cellsInOrder(key, count);
        expect([...order].sort((one, other) => one - other)).toEqual([...Array(count).keys()]);
        expect(cellsInOrder(key, count)).toEqual(order);
      }),
    );
  });

  it("growing by one moves nothing but to the new one, and leaves the order of the others", () => {
    fc.assert(
      fc.property(fc.string(), cells, (key, count) => {
        const after = cellsInOrder(key, count + 1);
        expect(after.filter((cell) => cell !== count)).toEqual(cellsInOrder(key, count));
        const replica = cellOfReplica(key, count + 1);
        expect([cellOfReplica(key, count), count]).toContain(replica);
      }),
    );
  });

  it("are of near equal size", () => {
    for (const count of [2, 4, 16]) {
      const sizes = new Array<number>(count).fill(0);
      const replicas = count * CELL_REPLICAS_MAX;
      for (let replica = 0; replica < replicas; replica++) {
        const cell = cellOfReplica(`10.0.${replica >> 8}.${replica & 255}`, count);
        sizes[cell] = sizes[cell]! + 1;
      }
      // Four standard deviations of a fair deal.
      const spread = 4 * Math.sqrt(CELL_REPLICAS_MAX * (1 - 1 / count));
      for (const size of sizes) expect(Math.abs(size - CELL_REPLICAS_MAX)).toBeLessThan(spread);
    }
  });

  it("keep a conversation, whatever is added to it, and a session whatever it says", () => {
    const name = fc.nat(2 ** 31);
    const long = fc.array(name, { minLength: 8, maxLength: 40 });
    fc.assert(
      fc.property(long, fc.array(name), (blocks, more) => {
        const first = cellKey({ ...WORK, blocks }, "a");
        expect(cellKey({ ...WORK, blocks: [...blocks, ...more] }, "b")).toBe(first);
        const named = { ...WORK, session: "s" };
        expect(cellKey({ ...named, blocks }, "a")).toBe(cellKey({ ...named, blocks: more }, "b"));
      }),
    );
    expect(cellKey(WORK, "a")).not.toBe(cellKey(WORK, "b"));
  });

  it("share what the whole pool may serve", () => {
    const config = { catalogueVersion: 1, concurrencyPerReplica: 8, tokensPerSecond: 1_000 };
    expect(shareOf(config, 1)).toEqual(config);
    expect(shareOf(config, 3).tokensPerSecond).toBe(333);
    expect(shareOf({ ...config, tokensPerSecond: null }, 3).tokensPerSecond).toBeNull();
  });
});

describe("cells seen as one pool", () => {
  const state = (cell: number, more: Partial<PoolState>): PoolState => ({
    ...{ pool: "p", model: "m", cell, cells: 2, epoch: cell, atMs: cell, replicas: [], colo: null },
    ...{ capacity: 0, inUse: 0, waiting: 0 },
    ...more,
  });
  const waits = (ms: number) => ({ interactive: 0, default: ms, batch: 2 * ms });

  it("add up, and their waits are means by size", () => {
    const [pool, ...others] = pooledCells([
      state(1, { capacity: 30, inUse: 10, waiting: 1, waitMs: waits(100) }),
      state(0, { capacity: 10, inUse: 5, waiting: 2, waitMs: waits(500) }),
    ]);
    expect(others).toEqual([]);
    expect(pool).toMatchObject({ cell: 0, cells: 2, epoch: 1, atMs: 0, capacity: 40, inUse: 15, waiting: 3 });
    expect(pool!.waitMs).toEqual({ interactive: 0, default: 200, batch: 400 });
  });

  it("leave pools of one cell as they are, and keep models apart", () => {
    const one = state(0, { capacity: 1 });
    const other = { ...one, model: "n" };
    expect(pooledCells([one, other])).toEqual([one, other]);
  });
});
