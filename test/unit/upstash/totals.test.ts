import fc from "fast-check";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import {
  DAY_MS,
  MIRROR_BACKLOG_MAX,
  MIRROR_BATCH_MAX,
  MIRROR_SEEN_KEPT_MS,
  REDIS_SKIP_MS,
} from "../../../src/bounds.ts";
import { exposition } from "../../../src/telemetry/metrics.ts";
import { connect } from "../../../src/upstash/client.ts";
import {
  dayOf,
  driftDays,
  driftOver,
  isAlarming,
  type MirrorEntry,
  MirrorTotals,
} from "../../../src/upstash/totals.ts";
import { RedisBridge } from "../../support/redis-bridge.ts";
import { HAS_REDIS, NEEDS_REDIS } from "../../support/redis-server.ts";
import { AT_MS } from "./support.ts";

const DAY = dayOf(AT_MS);
const TENANT = "00000000abc";

function entry(requestId: string, attempt: number, prompt: number, output: number, day = DAY): MirrorEntry {
  const usage = { promptTokens: prompt, cachedTokens: Math.floor(prompt / 2), outputTokens: output };
  return { tenantRef: TENANT, requestId, attempt, usage, day };
}

describe.skipIf(!HAS_REDIS)(`the usage mirror${NEEDS_REDIS}`, () => {
  let bridge: RedisBridge;
  let mirror: MirrorTotals;
  beforeAll(async () => {
    bridge = await new RedisBridge().start();
  });
  beforeEach(() => {
    mirror = new MirrorTotals(connect(bridge.url, bridge.token));
  });
  afterEach(async () => {
    await bridge.heal();
    await bridge.redis.command("FLUSHALL");
  });
  afterAll(() => bridge.end());

  it("adds up attempts per tenant and day", async () => {
    const yesterday = dayOf(AT_MS - DAY_MS);
    const other = { ...entry("r4", 0, 1_000, 0), tenantRef: "00000000xyz" };
    await mirror.add(
      [entry("r1", 0, 10, 5), entry("r2", 0, 20, 0), entry("r3", 0, 7, 0, yesterday), other],
      AT_MS,
    );
    expect(await mirror.tokens(TENANT, [DAY])).toBe(35);
    expect(await mirror.tokens(TENANT, [DAY, yesterday])).toBe(42);
    expect(await bridge.redis.command("HGETALL", `meridian:mirror:used:${TENANT}:${DAY}`)).toEqual(
      expect.arrayContaining(["promptTokens", "30", "cachedTokens", "15", "outputTokens", "5"]),
    );
  });

  it("adds only what is new in a cumulative report, and puts it into the day of the report", async () => {
    const tomorrow = dayOf(AT_MS + DAY_MS);
    await mirror.add([entry("r1", 0, 10, 5)], AT_MS);
    await mirror.add([entry("r1", 0, 10, 25)], AT_MS);
    await mirror.add([entry("r1", 0, 10, 40, tomorrow), entry("r1", 1, 10, 1, tomorrow)], AT_MS);
    expect(await mirror.tokens(TENANT, [DAY])).toBe(35);
    expect(await mirror.tokens(TENANT, [tomorrow])).toBe(15 + 11);
  });

  it("counts each token once however often, late and mixed up reports come", async () => {
    const reports = fc.array(
      fc.record({
        request: fc.constantFrom("r1", "r2", "r3"),
        attempt: fc.nat(1),
        prompt: fc.nat(50),
        output: fc.nat(500),
      }),
      { minLength: 1, maxLength: 12 },
    );
    await fc.assert(
      fc.asyncProperty(reports, fc.infiniteStream(fc.nat()), async (sent, picks) => {
        await bridge.redis.command("FLUSHALL");
        const entries = sent.map(({ request, attempt, prompt, output }) =>
          entry(request, attempt, prompt, output),
        );
        const repeats = entries.map(() => entries[picks.next().value % entries.length]!);
        await mirror.add(entries, AT_MS);
        for (const repeat of repeats) await mirror.add([repeat], AT_MS);
        expect(await mirror.tokens(TENANT, [DAY])).toBe(largestOfEach(entries));
      }),
      { numRuns: 40 },
    );
  });

  it("sends again what Redis took without saying so, and it still counts once", async () => {
    bridge.cuts = 1;
    await mirror.add([entry("r1", 0, 10, 5)], AT_MS);
    expect(mirror.waiting).toBe(1);
    await mirror.add([entry("r2", 0, 1, 0)], AT_MS + REDIS_SKIP_MS);
    expect(mirror.waiting).toBe(0);
    expect(await mirror.tokens(TENANT, [DAY])).toBe(16);
  });

  it("keeps what comes while Redis is dead, asks it once in a while, and then catches up", async () => {
    await bridge.redis.kill();
    const before = bridge.requests.length;
    for (let nth = 0; nth < 5; nth++) await mirror.add([entry(`r${nth}`, 0, 1, 0)], AT_MS + nth);
    expect(mirror.waiting).toBe(5);
    expect(bridge.requests.length - before).toBe(1);
    await bridge.redis.start();
    await mirror.add([], AT_MS + REDIS_SKIP_MS);
    expect(mirror.waiting).toBe(0);
    expect(await mirror.tokens(TENANT, [DAY])).toBe(5);
  });

  it("passes over an entry whose key is of another type, and takes the others", async () => {
    await bridge.redis.command("SET", "meridian:mirror:seen:bad:0", "no hash");
    await mirror.add([entry("r1", 0, 1, 0), entry("bad", 0, 1, 0), entry("r2", 0, 1, 0)], AT_MS);
    expect(await mirror.tokens(TENANT, [DAY])).toBe(2);
    expect(mirror.waiting).toBe(0);
    expect(exposition([])).toContain('meridian_mirror_entries_total{outcome="refused"} 1');
  });

  it("lets what it saw of an attempt expire after its last report can come, and totals later", async () => {
    await mirror.add([entry("r1", 0, 10, 5)], AT_MS);
    const seenMs = Number(await bridge.redis.command("PTTL", "meridian:mirror:seen:r1:0"));
    expect(seenMs).toBeGreaterThan(MIRROR_SEEN_KEPT_MS - 10_000);
    expect(seenMs).toBeLessThanOrEqual(MIRROR_SEEN_KEPT_MS);
    expect(await bridge.redis.command("PTTL", `meridian:mirror:used:${TENANT}:${DAY}`)).toBeGreaterThan(
      30 * DAY_MS,
    );
  });
});

describe("the mirror's backlog", () => {
  it("is bounded: the oldest goes", async () => {
    const sent: unknown[][] = [];
    let dead = true;
    // Only the keys matter here: two for each entry, the first of them with the request's id.
    const redis = {
      eval: (async (_: string, keys: string[]) => {
        if (dead) throw new Error("dead");
        sent.push(keys);
        return 0;
      }) as never,
    };
    const mirror = new MirrorTotals(redis as never);
    const entries = Array.from({ length: MIRROR_BACKLOG_MAX + 10 }, (_, nth) => entry(`r${nth}`, 0, 1, 0));
    for (const one of entries.slice(0, 10)) await mirror.add([one], AT_MS);
    await mirror.add(entries.slice(10), AT_MS);
    expect(mirror.waiting).toBe(MIRROR_BACKLOG_MAX);
    dead = false;
    await mirror.add([], AT_MS + REDIS_SKIP_MS);
    expect(mirror.waiting).toBe(0);
    const ids = sent.flat().filter((key) => String(key).includes(":seen:"));
    expect(ids).toHaveLength(MIRROR_BACKLOG_MAX);
    expect(ids).not.toContain("meridian:mirror:seen:r5:0");
    expect(sent.every((keys) => keys.length <= 2 * MIRROR_BATCH_MAX)).toBe(true);
  });
});

describe("drift", () => {
  const row = (day: string, promptTokens: number, outputTokens: number) => ({
    ...{ keyId: "key0000001", model: "m", requests: 1, cachedTokens: 3, day, promptTokens, outputTokens },
  });

  it("compares today and yesterday, prompt and output", () => {
    const days = driftDays(AT_MS);
    expect(days).toEqual(["2027-01-01", "2026-12-31"]);
    const billed = [
      row(days[0]!, 10, 5),
      row(days[0]!, 1, 0),
      row(days[1]!, 20, 0),
      row("2026-12-30", 999, 0),
    ];
    expect(driftOver(days, billed, 36)).toEqual({
      days,
      billedTokens: 36,
      mirroredTokens: 36,
      driftTokens: 0,
    });
    expect(driftOver(days, billed, 30).driftTokens).toBe(6);
    expect(driftOver(days, billed, 40).driftTokens).toBe(-4);
  });

  it.each([
    [1_000_000, 989_000, true],
    [1_000_000, 1_011_000, true],
    [1_000_000, 990_001, false],
    [20_000, 11_000, false],
    [2_000_000, 1_985_000, false],
  ])("of %i billed and %i mirrored tokens is alarming: %s", (billed, mirrored, alarming) => {
    const days = driftDays(AT_MS);
    expect(isAlarming(driftOver(days, [row(days[0]!, billed, 0)], mirrored))).toBe(alarming);
  });
});

/** Of each attempt and field the largest number that was reported: what the budget bills. */
function largestOfEach(entries: readonly MirrorEntry[]): number {
  const largest = new Map<string, number>();
  for (const { requestId, attempt, usage } of entries) {
    for (const field of ["promptTokens", "outputTokens"] as const) {
      const name = `${requestId}:${attempt}:${field}`;
      largest.set(name, Math.max(largest.get(name) ?? 0, usage[field]));
    }
  }
  return [...largest.values()].reduce((sum, tokens) => sum + tokens, 0);
}
