import { describe, expect, it } from "vitest";
import type { Served } from "../../../src/routing/messages.ts";
import { Concurrency } from "../../../src/routing/pool/concurrency.ts";
import { Pool } from "../../../src/routing/pool.ts";
import { ask, beat, chain, configOf, NOW, poolOf, replica, work } from "./rig.ts";

const CONFIG = configOf(64);

describe("a pool learns", () => {
  it("how fast a replica computes prompts, from its first tokens", () => {
    const pool = poolOf([replica("a")], CONFIG);
    const before = pool.view(NOW).firstTokenMs!.msPerToken;
    let nowMs = NOW;
    for (let at = 0; at < 50; at++) {
      pool.acquire(ask(`${at}`, { config: CONFIG, work: work({ promptTokens: 4_000 }) }), nowMs);
      nowMs += 1_000;
      pool.heartbeat(beat([replica("a")], [], CONFIG), nowMs);
      pool.started(`${at}`, nowMs);
      pool.release(`${at}`, "answered", nowMs);
    }
    const after = pool.view(nowMs).firstTokenMs!.msPerToken;
    expect(before).toBeCloseTo(0.1, 3);
    expect(after).toBeGreaterThan(0.22);
    expect(after).toBeLessThan(0.26);
  });

  it("the same from the gate's word, where nobody told of the first token", () => {
    const pool = poolOf([replica("a")], CONFIG);
    for (let at = 0; at < 50; at++) {
      pool.acquire(ask(`${at}`, { config: CONFIG, work: work({ promptTokens: 4_000 }) }), NOW);
      pool.release(`${at}`, "answered", NOW);
      const served: Served = { id: `${at}`, promptTokens: 4_000, cachedTokens: 0, firstTokenMs: 1_000 };
      pool.heartbeat({ ...beat([replica("a")], [], CONFIG), served: [served, served] }, NOW);
    }
    expect(pool.view(NOW).firstTokenMs!.msPerToken).toBeGreaterThan(0.22);
  });

  it("where prefixes are, and sends what goes on with them there until another process runs", () => {
    const pool = poolOf([replica("a"), replica("b")], CONFIG);
    const turn = (id: string, length: number) => {
      const more = work({ promptTokens: length * 128, blocks: chain(1, length) });
      const answer = pool.acquire(ask(id, { config: CONFIG, work: more }), NOW);
      pool.started(id, NOW);
      pool.release(id, "answered", NOW);
      return answer;
    };
    expect(turn("1", 10)).toMatchObject({ replica: "a", cachedTokens: 0 });
    expect(turn("2", 20)).toMatchObject({ replica: "a", cachedTokens: 1_280 });
    pool.heartbeat(beat([replica("a", { bootId: "next" }), replica("b")], [], CONFIG), NOW);
    expect(turn("3", 20)).toMatchObject({ cachedTokens: 0 });
  });

  it("and still knows after a restart, but not of a replica that restarted too", () => {
    const pool = poolOf([replica("a"), replica("b")], CONFIG);
    const more = { config: CONFIG, work: work({ promptTokens: 6_000, blocks: chain(1, 40) }) };
    pool.acquire(ask("1", { ...more, exclude: ["a"] }), NOW);
    const known = [replica("a"), replica("b")];
    const again = new Pool(known, NOW, { saved: pool.save() });
    expect(again.acquire(ask("2", more), NOW)).toMatchObject({ replica: "b", cachedTokens: 5_120 });
    const other = new Pool([replica("a"), replica("b", { bootId: "next" })], NOW, { saved: pool.save() });
    expect(other.acquire(ask("2", more), NOW)).toMatchObject({ cachedTokens: 0 });
  });

  it("keeps the place of who waited before the restart", () => {
    const pool = poolOf([replica("a")], configOf(1));
    const one = configOf(1);
    pool.acquire(ask("running", { config: one }), NOW);
    pool.acquire(ask("new", { config: one, waitMs: 9_000 }), NOW);
    pool.acquire(ask("old", { config: one, waitMs: 9_000, sinceMs: NOW - 3_000 }), NOW);
    expect(pool.release("running", "answered", NOW)).toMatchObject([{ id: "old" }]);
  });
});

describe("concurrency", () => {
  const report = (waiting: number) => replica("a", { waiting });

  it("falls by a tenth a second under overload, never below one, and grows back while it is used", () => {
    const limit = new Concurrency();
    expect(limit.limit(64)).toBe(64);
    for (let at = 0; at < 5; at++) limit.overloaded(64, NOW + at);
    expect(limit.limit(64)).toBe(57);
    for (let at = 1; at < 100; at++) limit.overloaded(64, NOW + at * 1_000);
    expect(limit.limit(64)).toBe(1);
    for (let at = 100; at < 160; at++) limit.heard(report(0), 64, 64, NOW + at * 1_000);
    expect(limit.limit(64)).toBe(64);
    for (let at = 160; at < 163; at++) limit.heard(report(0), 64, 64, NOW + at * 1_000);
    expect(limit.limit(64), "the ceiling is hard").toBe(64);
  });

  it("falls when the engine lets many wait for two heartbeats, not for one", () => {
    const limit = new Concurrency();
    limit.heard(report(9), 64, 64, NOW);
    expect(limit.limit(64)).toBe(64);
    limit.heard(report(9), 64, 64, NOW + 1_000);
    expect(limit.limit(64)).toBe(57);
  });

  it("is what a pool gives out", () => {
    const pool = poolOf([replica("a")], configOf(10));
    pool.heartbeat(beat([replica("a")], [{ overloaded: 1 }], configOf(10)), NOW);
    expect(pool.view(NOW)).toMatchObject({ capacity: 9, replicas: [{ limit: 9 }] });
  });
});
