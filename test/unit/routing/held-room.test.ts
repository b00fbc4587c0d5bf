import { describe, expect, it } from "vitest";
import type { Band, Work } from "../../../src/routing/messages.ts";
import type { Pool } from "../../../src/routing/pool.ts";
import { ask, beat, chain, configOf, NOW, poolOf, replica, work } from "./rig.ts";

const CAP = 10;
const WAIT_MS = 20_000;
const CACHE = 100_000;
const reports = [replica("a", { cacheTokens: CACHE })];

function asked(pool: Pool, id: string, more: Partial<Work> = {}, nowMs = NOW) {
  return pool.acquire(ask(id, { config: configOf(CAP), waitMs: WAIT_MS, work: work(more) }), nowMs);
}

/** Sent, and its first token came at once. */
function running(pool: Pool, id: string, more: Partial<Work> = {}) {
  expect(asked(pool, id, more).kind, id).toBe("granted");
  pool.started(id, NOW);
}

/** So much of the KV memory. */
const share = (part: number, band: Band = "default") => ({
  ...{ promptTokens: 1_000, outputTokens: Math.round(part * CACHE) - 1_000, band },
});

describe("room at a replica", () => {
  it("is not asked for by a timer while only memory is missing", () => {
    const pool = poolOf(reports, configOf(CAP));
    // Few tokens are ahead: its prompt is no reason to wait.
    expect(asked(pool, "1", { promptTokens: 100, outputTokens: 0.85 * CACHE }).kind).toBe("granted");
    expect(asked(pool, "2", share(0.1)).kind).toBe("waiting");
    expect(pool.nextDeadlineMs(NOW)).toBe(NOW + WAIT_MS);
    expect(pool.nextDeadlineMs(NOW + 5)).toBe(NOW + WAIT_MS);
  });

  it("is all for batch while nobody else comes, and less by what the urgent were sent", () => {
    const alone = poolOf(reports, configOf(CAP));
    running(alone, "1", share(0.4, "batch"));
    running(alone, "2", share(0.45, "batch"));
    const mixed = poolOf(reports, configOf(CAP));
    running(mixed, "1", share(0.4, "interactive"));
    expect(asked(mixed, "2", share(0.45, "batch")).kind).toBe("waiting");
    expect(asked(mixed, "3", share(0.25, "batch")).kind).toBe("granted");
    mixed.started("3", NOW);
    expect(asked(mixed, "4", share(0.25, "interactive")).kind).toBe("granted");
  });

  it("the same for permits, but batch gets one of one", () => {
    const pool = poolOf(reports, configOf(CAP));
    for (let at = 0; at < 8; at++) running(pool, `${at}`, share(0.02, at === 0 ? "interactive" : "batch"));
    running(pool, "9", share(0.02, "interactive"));
    expect(asked(pool, "batch", share(0.02, "batch")).kind).toBe("waiting");
    expect(asked(pool, "urgent", share(0.02, "interactive")).kind).toBe("granted");
    const one = poolOf(reports, configOf(1));
    const only = { config: configOf(1), work: work({ band: "interactive" }) };
    one.acquire(ask("1", only), NOW);
    one.release("1", "answered", NOW);
    expect(one.acquire(ask("2", { ...only, work: work({ band: "batch" }) }), NOW).kind).toBe("granted");
  });

  it("is less by what the engine holds and nobody foresaw", () => {
    const pool = poolOf(reports, configOf(CAP));
    running(pool, "1", share(0.3));
    const full = replica("a", { cacheTokens: CACHE, kvCacheUsage: 0.85 });
    pool.heartbeat(beat([full], [], configOf(CAP)), NOW);
    expect(asked(pool, "2", share(0.1)).kind).toBe("waiting");
    const { resolved } = pool.heartbeat(beat(reports, [], configOf(CAP)), NOW);
    expect(resolved).toMatchObject([{ id: "2" }]);
  });

  it("is none behind a prompt that is later than a cached one would be", () => {
    const pool = poolOf(reports, configOf(CAP));
    const long = { promptTokens: 40_000, outputTokens: 100, blocks: chain(1, 300) };
    expect(asked(pool, "1", long, NOW - 4_000).kind).toBe("granted");
    pool.started("1", NOW);
    pool.release("1", "answered", NOW);
    // 1,600 of 40,000 tokens are not believed cached: 160 ms at 10 a millisecond.
    expect(asked(pool, "2", long)).toMatchObject({ kind: "granted", cachedTokens: 38_400 });
    expect(asked(pool, "3", { promptTokens: 100 }, NOW + 200).kind).toBe("granted");
    expect(asked(pool, "4", { promptTokens: 100 }, NOW + 1_000).kind).toBe("waiting");
    expect(pool.started("2", NOW + 2_000)).toMatchObject([{ id: "4" }]);
  });
});

describe("who leaves the queue unsent", () => {
  it.each(["client_gone", "time"] as const)("leaves nothing in what is believed cached: %s", (why) => {
    const pool = poolOf([replica("a")], configOf(CAP));
    asked(pool, "1", { promptTokens: 50_000 });
    const more = { promptTokens: 6_400, blocks: chain(2, 50) };
    expect(asked(pool, "2", more).kind).toBe("waiting");
    const endMs = NOW + WAIT_MS;
    if (why === "time") expect(pool.sweep(endMs).map(({ id }) => id)).toContain("2");
    else pool.release("2", "client_gone", endMs);
    pool.heartbeat(beat([replica("a")], [], configOf(CAP)), endMs);
    pool.release("1", "answered", endMs);
    expect(asked(pool, "3", more, endMs)).toMatchObject({ kind: "granted", cachedTokens: 0 });
  });
});
