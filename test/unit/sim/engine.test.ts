import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { BlockCache } from "../../../sim/origin/engine/cache.ts";
import { DEFAULT_SPEC, Engine, type EngineSpec } from "../../../sim/origin/engine/engine.ts";
import { BlockHasher } from "../../../sim/origin/engine/hash.ts";
import { EngineLoop } from "../../../sim/origin/engine/loop.ts";

function engineOf(spec: Partial<EngineSpec> = {}): Engine {
  return new Engine({ ...DEFAULT_SPEC, ...spec });
}

const names = (count: number, salt = "") =>
  new BlockHasher(1, salt).pushAll(Array.from({ length: count }, (_, i) => i));

describe("engine", () => {
  test("a step costs base, prefill and decode", () => {
    const engine = engineOf();
    engine.add({ id: 1, promptTokens: 1000, blockNames: [] });
    expect(engine.step(50)).toMatchObject({ endsAtMs: 50 + 8 + 100, prefillTokens: 1000, emitted: [1] });
    engine.add({ id: 2, promptTokens: 100, blockNames: [] });
    expect(engine.step(0)?.endsAtMs).toBeCloseTo(8 + 10 + 0.1);
    expect(engine.step(0)?.endsAtMs).toBeCloseTo(8 + 0.2);
  });

  test("does nothing when there is nothing to do", () => {
    const engine = engineOf();
    expect(engine.step(0)).toBeUndefined();
    engine.add({ id: 1, promptTokens: 5, blockNames: [] });
    engine.remove(1);
    expect(engine.step(0)).toBeUndefined();
  });

  test("prefills long prompts in chunks, and lets running sequences decode beside them", () => {
    const engine = engineOf({ maxStepTokens: 512 });
    engine.add({ id: 1, promptTokens: 10, blockNames: [] });
    engine.step(0);
    engine.add({ id: 2, promptTokens: 1200, blockNames: [] });
    expect(engine.step(0)).toMatchObject({ prefillTokens: 511, emitted: [1] });
    expect(engine.step(0)).toMatchObject({ prefillTokens: 511, emitted: [1] });
    expect(engine.step(0)).toMatchObject({ prefillTokens: 178, emitted: [1, 2] });
  });

  test("runs at most maxSequences, the rest waits in order of priority and arrival", () => {
    const engine = engineOf({ maxSequences: 2 });
    for (const id of [1, 2, 3, 4]) engine.add({ id, promptTokens: 5, blockNames: [] });
    engine.add({ id: 5, promptTokens: 5, blockNames: [], priority: -1 });
    expect(engine.step(0)?.started.map(({ id }) => id)).toEqual([5, 1]);
    expect([engine.running, engine.waiting]).toEqual([2, 3]);
    engine.remove(5);
    expect(engine.step(0)?.started.map(({ id }) => id)).toEqual([2]);
  });

  test("an equal prompt is found in the cache, but for its last token", () => {
    const engine = engineOf({ blockTokens: 1 });
    engine.add({ id: 1, promptTokens: 40, blockNames: names(40) });
    expect(engine.step(0)).toMatchObject({ prefillTokens: 40, started: [{ id: 1, cachedTokens: 0 }] });
    engine.add({ id: 2, promptTokens: 40, blockNames: names(40) });
    expect(engine.step(0)).toMatchObject({ prefillTokens: 1, started: [{ id: 2, cachedTokens: 39 }] });
    engine.add({ id: 3, promptTokens: 40, blockNames: names(40, "another tenant") });
    expect(engine.step(0)?.started).toEqual([{ id: 3, cachedTokens: 0 }]);
    expect(engine.totals).toMatchObject({ prefixQueries: 120, prefixHits: 39 });
  });

  test("an answer is cached for the next turn", () => {
    const engine = engineOf({ blockTokens: 1 });
    engine.add({ id: 1, promptTokens: 3, blockNames: names(3) });
    for (const name of names(8).slice(3)) {
      engine.step(0);
      engine.nameBlock(1, name);
    }
    engine.remove(1);
    engine.add({ id: 2, promptTokens: 8, blockNames: names(8) });
    // The last token of an answer was never computed, so its block was named but is the one that is recomputed.
    expect(engine.step(0)?.started[0]?.cachedTokens).toBe(7);
  });

  test("forgets the oldest blocks first", () => {
    const engine = engineOf({ blockTokens: 1, cacheBlocks: 100 });
    for (const [id, salt] of [
      [1, "a"],
      [2, "b"],
      [3, "c"],
    ] as const) {
      engine.add({ id, promptTokens: 40, blockNames: names(40, salt) });
      engine.step(0);
      engine.remove(id);
    }
    const cached = (id: number, salt: string) => {
      engine.add({ id, promptTokens: 40, blockNames: names(40, salt) });
      const hit = engine.step(0)?.started[0]?.cachedTokens;
      engine.remove(id);
      return hit;
    };
    expect(cached(4, "c")).toBe(39);
    expect(cached(5, "b")).toBe(39);
    expect(cached(6, "a")).toBeLessThan(39);
  });

  test("preempts the youngest when memory runs out, and computes it again", () => {
    const engine = engineOf({ blockTokens: 16, cacheBlocks: 8 });
    engine.add({ id: 1, promptTokens: 60, blockNames: [] });
    engine.add({ id: 2, promptTokens: 60, blockNames: [] });
    const emitted = new Map([
      [1, 0],
      [2, 0],
    ]);
    for (let step = 0; step < 20; step++) {
      for (const id of engine.step(0)?.emitted ?? []) emitted.set(id, emitted.get(id)! + 1);
    }
    expect(engine.totals.preemptions).toBe(1);
    expect(emitted.get(1)).toBe(20);
    expect(engine.waiting).toBe(1);
    engine.remove(1);
    expect(engine.step(0)).toMatchObject({ started: [{ id: 2 }], emitted: [2] });
  });

  test("a parked sequence keeps its slot and says nothing", () => {
    const engine = engineOf({ maxSequences: 1 });
    engine.add({ id: 1, promptTokens: 5, blockNames: [] });
    engine.step(0);
    engine.park(1);
    engine.add({ id: 2, promptTokens: 5, blockNames: [] });
    expect(engine.step(0)).toBeUndefined();
    expect([engine.running, engine.waiting]).toEqual([1, 1]);
  });

  test("whatever happens, blocks and sequences add up", () => {
    const command = fc.oneof(
      fc.record({
        do: fc.constant("add" as const),
        tokens: fc.integer({ min: 1, max: 90 }),
        salt: fc.integer({ max: 2, min: 0 }),
      }),
      fc.record({ do: fc.constant("remove" as const), pick: fc.nat() }),
      fc.record({ do: fc.constant("step" as const) }),
    );
    fc.assert(
      fc.property(fc.array(command, { maxLength: 120 }), (commands) => {
        const engine = engineOf({ blockTokens: 4, cacheBlocks: 40, maxSequences: 5, maxStepTokens: 64 });
        const alive: number[] = [];
        commands.forEach((command, id) => {
          if (command.do === "add") {
            const ids = Array.from({ length: command.tokens }, (_, i) => i);
            const blockNames = new BlockHasher(4, String(command.salt)).pushAll(ids);
            engine.add({ id, promptTokens: command.tokens, blockNames });
            alive.push(id);
          } else if (command.do === "remove") {
            engine.remove(alive.splice(command.pick % Math.max(1, alive.length), 1)[0] ?? -1);
          } else {
            const step = engine.step(0);
            // Something always moves, unless nothing is there.
            expect(step === undefined).toBe(alive.length === 0);
          }
          expect(engine.running + engine.waiting).toBe(alive.length);
          expect(engine.running).toBeLessThanOrEqual(5);
          expect(engine.cacheUsage).toBeLessThanOrEqual(1);
        });
        for (const id of alive) engine.remove(id);
        expect(engine.cacheUsage).toBe(0);
      }),
    );
  });

  test("refuses what can never run", () => {
    const engine = engineOf({ cacheBlocks: 2 });
    expect(() => engine.add({ id: 1, promptTokens: 32, blockNames: [] })).toThrow("cannot fit");
    expect(() => new BlockCache(0)).toThrow();
  });
});

describe("engine loop", () => {
  test("gives each job its tokens at the pace of the model, catching up with late timers", async () => {
    const engine = engineOf();
    let nowMs = 0;
    const loop = new EngineLoop(engine, 1, undefined, () => nowMs);
    const times: number[] = [];
    const done = new Promise<void>((resolve) => {
      const id = loop.submit(
        { promptTokens: 10, blockNames: [] },
        {
          started: () => {},
          token: (atMs) => {
            times.push(atMs);
            if (times.length === 5) resolve(loop.remove(id));
          },
        },
      );
    });
    await new Promise((resolve) => setTimeout(resolve, 5));
    nowMs = 500;
    await done;
    loop.close();
    expect(times.map((time) => Math.round(time * 10) / 10)).toEqual([9, 17.1, 25.2, 33.3, 41.4]);
  });

  test("has no timer while idle", async () => {
    const timers = () => process.getActiveResourcesInfo().filter((name) => name === "Timeout").length;
    const loop = new EngineLoop(engineOf(), 1000);
    // One of the test runner itself may end meanwhile.
    const before = timers();
    await new Promise<void>((resolve) => {
      const id = loop.submit(
        { promptTokens: 3, blockNames: [] },
        { started: () => {}, token: () => resolve(loop.remove(id)) },
      );
    });
    await new Promise((resolve) => setTimeout(resolve, 5));
    expect(timers()).toBeLessThanOrEqual(before);
  });
});
