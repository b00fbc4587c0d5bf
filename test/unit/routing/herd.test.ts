import { describe, expect, it } from "vitest";
import { DIRECTORY_FRESH_MS } from "../../../src/bounds.ts";
import { type Candidate, drawn } from "../../../src/routing/rank.ts";
import { poolAt, randomFrom, ranked, state } from "./pools.ts";

/** How one isolate sends one request, by the ranking of the snapshot that all isolates see. */
type Choose = (candidates: readonly Candidate[], isolate: number) => string;

const ISOLATES = 50;
const streams = Array.from({ length: ISOLATES }, (_, seed) => randomFrom(seed + 1));
const byChance: Choose = (candidates, isolate) => drawn(candidates, streams[isolate]!)[0]!.pool.id;
/** What the draw is there to replace: everybody takes the best. */
const byTheBest: Choose = (candidates) =>
  candidates.reduce((best, one) => ((one.headroom ?? 0) > (best.headroom ?? 0) ? one : best)).pool.id;

describe("a herd: 1,000 requests of 50 isolates on one snapshot", () => {
  const send = (pools: Parameters<typeof poolAt>[], inUse: Record<string, number>, choose: Choose) => {
    const states = Object.entries(inUse).map(([id, used]) => state(id, used, { capacity: 40 }));
    const candidates = ranked({ pools: pools.map((made) => poolAt(...made)), states });
    const sent = new Map(candidates.map(({ pool }) => [pool.id, 0]));
    for (let request = 0; request < 1_000; request++) {
      const id = choose(candidates, request % ISOLATES);
      sent.set(id, sent.get(id)! + 1);
    }
    return sent;
  };

  it("is split between two equal pools by their headroom", () => {
    const sent = send(
      [
        ["a", 30],
        ["b", 30],
      ],
      { a: 10, b: 30 },
      byChance,
    );
    // 30 + 2 against 10 + 6 places: 667 expected, four standard deviations are 60.
    expect(Math.abs(sent.get("a")! - 667)).toBeLessThan(60);
  });

  it("is split with the nearer pool ahead when one is 5 ms behind", () => {
    const sent = send(
      [
        ["a", 30],
        ["b", 35],
      ],
      { a: 20, b: 20 },
      byChance,
    );
    // Nearness ¾: 1 ÷ 1.75 of all, 571 expected, four standard deviations are 63.
    expect(Math.abs(sent.get("a")! - 571)).toBeLessThan(63);
  });

  it("does not spill over to a far pool while a near one has room", () => {
    const sent = send(
      [
        ["a", 30],
        ["b", 90],
      ],
      { a: 35, b: 0 },
      byChance,
    );
    expect(sent.get("b")).toBe(0);
  });

  it("would go to one pool as a whole if each isolate took the best", () => {
    const sent = send(
      [
        ["a", 30],
        ["b", 30],
      ],
      { a: 19, b: 20 },
      byTheBest,
    );
    expect(sent.get("a")).toBe(1_000);
  });
});

describe("flapping", () => {
  it("does not happen where two pools keep overtaking each other: shares move as little as predictions", () => {
    const shares: number[] = [];
    for (let snapshot = 0; snapshot < 200; snapshot++) {
      const behindMs = 3 * Math.sin(snapshot);
      const pools = [poolAt("a", 50), poolAt("b", 50 + behindMs)];
      const candidates = ranked({ pools, states: [state("a", 2), state("b", 2)] });
      shares.push(candidates.find(({ pool }) => pool.id === "a")!.share);
    }
    // 3 ms of a reach of 20: weights 1 and 0.85 or better.
    expect(Math.min(...shares)).toBeGreaterThanOrEqual(0.459);
    expect(Math.max(...shares)).toBeLessThanOrEqual(0.541);
  });

  it("does not happen at the edge of what is near either", () => {
    const share = (behindMs: number) => {
      const states = [state("a", 2), state("b", 0)];
      const candidates = ranked({ pools: [poolAt("a", 50), poolAt("b", 50 + behindMs)], states });
      return candidates.find(({ pool }) => pool.id === "b")!.share;
    };
    for (let behindMs = 0; behindMs < 30; behindMs += 0.1) {
      expect(Math.abs(share(behindMs + 0.1) - share(behindMs))).toBeLessThan(0.011);
    }
    expect(share(20.1)).toBe(0);
  });

  /**
   * Two pools under load for 80 snapshots. A request runs six seconds, is sent by a snapshot of up to two seconds ago, and
   * goes to the other pool when the first has no permit. How far apart the pools' use was at worst, once they were
   * warm, and which part of the requests ran into a full pool; both 0 … 1.
   */
  function play(capacities: Record<string, number>, load: number, choose: Choose) {
    const ids = Object.keys(capacities);
    const pools = ids.map((id) => poolAt(id, 30));
    const serviceMs = 6_000;
    const gapMs = serviceMs / (load * ids.reduce((sum, id) => sum + capacities[id]!, 0));
    const running = new Map(ids.map((id) => [id, [] as number[]]));
    const use = (id: string) => running.get(id)!.length / capacities[id]!;
    let candidates: Candidate[] = [];
    let [worstGap, refused, requests, snapshotMs] = [0, 0, 0, -Infinity];
    for (let atMs = 0; atMs < 80 * DIRECTORY_FRESH_MS; atMs += gapMs) {
      for (const [id, ends] of running) {
        const over = ends.findIndex((endMs) => endMs > atMs);
        if (over !== 0) running.set(id, over < 0 ? [] : ends.slice(over));
      }
      if (atMs - snapshotMs >= DIRECTORY_FRESH_MS) {
        snapshotMs = atMs;
        const states = ids.map((id) => {
          return state(id, running.get(id)!.length, { capacity: capacities[id]!, waitMs: NO_WAIT });
        });
        candidates = ranked({ pools, states });
        if (atMs > 4 * serviceMs)
          worstGap = Math.max(worstGap, Math.max(...ids.map(use)) - Math.min(...ids.map(use)));
      }
      requests += 1;
      const wanted = choose(candidates, requests % ISOLATES);
      if (use(wanted) >= 1) refused += 1;
      const taken = use(wanted) < 1 ? wanted : ids.find((id) => use(id) < 1);
      if (taken !== undefined) running.get(taken)!.push(atMs + serviceMs);
    }
    return { worstGap, refused: refused / requests };
  }
  const NO_WAIT = { interactive: 0, default: 0, batch: 0 };

  it("does not build up over snapshots that are two seconds late", () => {
    expect(play({ a: 400, b: 400 }, 0.8, byChance).worstGap).toBeLessThan(0.3);
    expect(play({ a: 400, b: 100 }, 0.8, byChance).worstGap).toBeLessThan(0.35);
    expect(play({ a: 400, b: 400 }, 0.8, byTheBest).worstGap).toBeGreaterThan(0.35);
  });

  it("does not run requests into full pools near saturation", () => {
    expect(play({ a: 400, b: 400 }, 0.95, byChance).refused).toBeLessThan(0.08);
    expect(play({ a: 400, b: 400 }, 0.95, byTheBest).refused).toBeGreaterThan(0.2);
  });
});
