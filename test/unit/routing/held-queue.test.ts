import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { FAIR_SLACK_TOKENS, POOL_QUEUE_MAX_BYTES, PREFILL_AHEAD_MAX_TOKENS } from "../../../src/bounds.ts";
import type { Work } from "../../../src/routing/messages.ts";
import type { Pool } from "../../../src/routing/pool.ts";
import { ask, beat, chain, configOf, NOW, poolOf, replica, work } from "./rig.ts";

const LONG_WAIT_MS = 20_000;
/** Until somebody behind so many tokens is sent, at the 10 tokens a millisecond assumed of an unknown replica. */
const sentInMs = (aheadTokens: number) => Math.round((aheadTokens - PREFILL_AHEAD_MAX_TOKENS) / 10);

/** Asks with room to wait, and says what came of it. */
function asked(pool: Pool, id: string, more: Partial<Work> = {}, nowMs = NOW, exclude: string[] = []) {
  const config = configOf(64);
  return pool.acquire(ask(id, { config, waitMs: LONG_WAIT_MS, exclude, work: work(more) }), nowMs);
}

/** The order in which a pool of one permit sends those who wait. */
function drained(pool: Pool, first: string, nowMs = NOW): string[] {
  const order: string[] = [];
  for (let running: string | undefined = first; running !== undefined; ) {
    pool.started(running, nowMs);
    running = pool.release(running, "answered", nowMs)[0]?.id;
    if (running !== undefined) order.push(running);
  }
  return order;
}

describe("a request is held at the pool", () => {
  const reports = [replica("a", { cacheTokens: 100_000 })];

  it("while many uncached tokens are ahead, and is sent when they are computed", () => {
    const pool = poolOf(reports, configOf(64));
    expect(asked(pool, "1", { promptTokens: 10_000 }).kind).toBe("granted");
    expect(asked(pool, "2")).toEqual({ kind: "waiting", predictedWaitMs: sentInMs(10_000) });
    const atMs = pool.nextDeadlineMs(NOW)!;
    expect(Math.ceil((10_000 - PREFILL_AHEAD_MAX_TOKENS) / 10)).toBeCloseTo(atMs - NOW, -1);
    expect(pool.sweep(atMs - 10)).toEqual([]);
    expect(pool.sweep(atMs)).toMatchObject([{ id: "2", answer: { kind: "granted" } }]);
  });

  it("and is sent at once when the prompt ahead has its first token", () => {
    const pool = poolOf(reports, configOf(64));
    asked(pool, "1", { promptTokens: 10_000 });
    asked(pool, "2");
    expect(pool.started("1", NOW + 100)).toMatchObject([{ id: "2" }]);
  });

  it("while the KV memory is taken, and batch sooner than others, one prompt at a time", () => {
    const pool = poolOf(reports, configOf(64));
    asked(pool, "1", { promptTokens: 80_000, outputTokens: 5_000 });
    pool.started("1", NOW);
    expect(asked(pool, "b", { promptTokens: 100, outputTokens: 100, band: "batch" }).kind).toBe("waiting");
    expect(asked(pool, "2", { promptTokens: 200, outputTokens: 4_300 }).kind).toBe("granted");
    expect(asked(pool, "3", { promptTokens: 200, outputTokens: 4_300 }).kind).toBe("waiting");
    expect(
      pool
        .release("1", "answered", NOW)
        .map(({ id }) => id)
        .sort(),
    ).toEqual(["3", "b"]);
    expect(asked(pool, "b2", { promptTokens: 10, outputTokens: 10, band: "batch" }).kind).toBe("waiting");
  });

  it("unless what it waits for is more than it may, which it is told at once", () => {
    const pool = poolOf(reports, configOf(64));
    asked(pool, "1", { promptTokens: 50_000 });
    expect(asked(pool, "late", { firstTokenByMs: NOW + 2_000 })).toMatchObject({ reason: "too_late" });
    asked(pool, "2", { promptTokens: 250_000 });
    const refusal = asked(pool, "full", { promptTokens: 300_000 });
    expect(refusal).toMatchObject({ kind: "refused", reason: "full" });
    // 300,000 tokens are ahead: it may come again when the wait is down to what it may wait.
    if (refusal.kind === "refused")
      expect(refusal.retryAfterMs).toBeCloseTo(sentInMs(300_000) - LONG_WAIT_MS, -2);
    expect(pool.view(NOW).waiting).toBe(1);
  });

  it("within bounds of memory", () => {
    const pool = poolOf(reports, configOf(64));
    asked(pool, "1", { promptTokens: 10_000 });
    expect(asked(pool, "2", { promptTokens: 1, bytes: POOL_QUEUE_MAX_BYTES }).kind).toBe("waiting");
    expect(asked(pool, "3", { promptTokens: 1, bytes: 1 })).toMatchObject({ reason: "full" });
    pool.release("2", "client_gone", NOW);
    expect(asked(pool, "3", { promptTokens: 1, bytes: 1 }).kind).toBe("waiting");
  });
});

describe("held requests", () => {
  it("are taken over by a replica that has nothing to do, where that gains something", () => {
    const pool = poolOf([replica("a"), replica("b")], configOf(64));
    // Both run 20,000 tokens; what comes now has its prefix at a, and waits there.
    asked(pool, "1", { promptTokens: 20_000, blocks: chain(1, 100) });
    asked(pool, "2", { promptTokens: 20_000 });
    expect(asked(pool, "long", { promptTokens: 13_000, blocks: chain(1, 100) }).kind).toBe("waiting");
    expect(asked(pool, "short", { promptTokens: 500, blocks: chain(1, 2) }).kind).toBe("waiting");
    // At b 13,000 tokens would have to be computed that a has: only the short one moves.
    expect(pool.started("2", NOW)).toMatchObject([{ id: "short", answer: { replica: "b" } }]);
    expect(pool.started("1", NOW)).toMatchObject([
      { id: "long", answer: { replica: "a", cachedTokens: 12_800 } },
    ]);
  });

  it("are bound anew when their replica fails, never to an excluded one, and refused when none is left", () => {
    const pool = poolOf([replica("a"), replica("b"), replica("c")], configOf(1));
    for (const id of ["1", "2", "3"]) asked(pool, id);
    expect(asked(pool, "any").kind).toBe("waiting");
    expect(asked(pool, "not b, c", {}, NOW, ["b", "c"]).kind).toBe("waiting");
    const down = replica("a", { state: "down" });
    const { resolved } = pool.heartbeat(beat([down, replica("b"), replica("c")]), NOW);
    expect(resolved).toMatchObject([{ id: "not b, c", answer: { kind: "refused", reason: "no_replica" } }]);
    const next = [...pool.release("1", "failed", NOW), ...pool.release("2", "answered", NOW)];
    expect(next).toMatchObject([{ id: "any", answer: { replica: "b" } }]);
  });

  it("go by urgency, but less urgent ones get their reserved share", () => {
    const pool = poolOf([replica("a")], configOf(1));
    asked(pool, "first", { band: "interactive", promptTokens: 100 });
    for (const band of ["batch", "default", "interactive"] as const) {
      for (let at = 0; at < 40; at++) asked(pool, `${band} ${at}`, { band, promptTokens: 100 });
    }
    const order = drained(pool, "first").map((id) => id.split(" ")[0]);
    const early = order.slice(0, 40);
    const count = (band: string) => early.filter((one) => one === band).length;
    expect(count("interactive")).toBeGreaterThan(25);
    expect(count("default")).toBeGreaterThanOrEqual(7);
    expect(count("batch")).toBeGreaterThanOrEqual(1);
    expect(order).toHaveLength(120);
  });

  it("go shortest first, and a long one waits no longer than its length allows, whatever comes (no starvation)", () => {
    const pool = poolOf([replica("a")], configOf(1));
    asked(pool, "first", { promptTokens: 1_000 });
    asked(pool, "long", { promptTokens: 4_000 });
    let [running, nowMs] = ["first", NOW];
    for (let at = 0; running !== "long"; at++) {
      asked(pool, `short ${at}`, { promptTokens: 1_000 }, nowMs);
      nowMs += 100;
      pool.started(running, nowMs);
      running = pool.release(running, "answered", nowMs)[0]!.id;
      // (4,000 − 1,000) tokens at 10 per ms, of which a quarter counts: 1.2 s, and the one that runs.
      expect(nowMs - NOW).toBeLessThanOrEqual(1_400);
    }
    expect(nowMs - NOW).toBeGreaterThan(1_000);
  });

  it("of two backlogged tenants are served the same, to within two requests and the slack (VTC)", () => {
    const sizes = fc.array(fc.integer({ min: 1, max: 3_000 }), { minLength: 5, maxLength: 25 });
    fc.assert(
      fc.property(sizes, sizes, (one, other) => {
        const pool = poolOf([replica("a")], configOf(1));
        asked(pool, "first", { promptTokens: 1, outputTokens: 0, tenant: "none" });
        const costs = new Map<string, number>();
        for (const [tenant, tokens] of [["t", one] as const, ["u", other] as const]) {
          for (const [at, size] of tokens.entries()) {
            // Mostly output, of which a token counts twice: many times the slack, and no wait for prompts.
            const more = { promptTokens: size % 10, outputTokens: 100 * size, tenant };
            costs.set(`${tenant} ${at}`, more.promptTokens + 2 * more.outputTokens);
            expect(asked(pool, `${tenant} ${at}`, more).kind).toBe("waiting");
          }
        }
        const most = Math.max(...costs.values());
        const served = { t: 0, u: 0 };
        const left = { t: one.length, u: other.length };
        for (const id of drained(pool, "first")) {
          const tenant = id[0] as "t" | "u";
          served[tenant] += costs.get(id)!;
          left[tenant] -= 1;
          const apart = Math.abs(served.t - served.u);
          if (left.t > 0 && left.u > 0) expect(apart).toBeLessThanOrEqual(2 * most + FAIR_SLACK_TOKENS);
        }
        expect(left).toEqual({ t: 0, u: 0 });
      }),
    );
  });

  it("are predicted with the memory that their band may take", () => {
    const waitMs = (["interactive", "default", "batch"] as const).map((band) => {
      const pool = poolOf([replica("a", { cacheTokens: 100_000 })], configOf(64));
      asked(pool, "first", { promptTokens: 100 });
      pool.started("first", NOW);
      pool.release("first", "answered", NOW + 10_000);
      asked(pool, "large", { promptTokens: 80_000, outputTokens: 5_000 }, NOW + 10_000);
      pool.started("large", NOW + 10_000);
      return asked(pool, "held", { promptTokens: 5_000, outputTokens: 5_000, band }, NOW + 10_000);
    });
    // 95,000 tokens wanted of 92,000, 90,000 and 70,000, all of which come back in the 10 s of a permit.
    const expected = [3 / 92, 5 / 90, 25 / 70].map((share) => Math.round(10_000 * share));
    expect(waitMs).toEqual(expected.map((predictedWaitMs) => ({ kind: "waiting", predictedWaitMs })));
  });

  it("are predicted, and how wrong that was is counted", () => {
    const pool = poolOf([replica("a")], configOf(64));
    asked(pool, "1", { promptTokens: 10_000 });
    asked(pool, "2", { band: "interactive" });
    // Behind the first's 10,000 tokens and the second's 1,000.
    const waitMs = sentInMs(11_000);
    expect(pool.view(NOW).waitMs).toEqual({ interactive: waitMs, default: waitMs, batch: waitMs });
    pool.started("1", NOW + 2_000);
    const { interactive, default: others } = pool.view(NOW).waitErrors!;
    // 2,000 ms instead of some 950: between 1 and 3 s more.
    expect(interactive.indexOf(1)).toBe(10);
    expect(others.every((count) => count === 0)).toBe(true);
  });
});
