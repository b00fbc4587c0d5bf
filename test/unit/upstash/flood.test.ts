import type { Redis } from "@upstash/redis/cloudflare";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it, vi } from "vitest";
import {
  FLOOD_DENIAL_CACHE_MS,
  FLOOD_WINDOW_MS,
  REDIS_GUARD_TIMEOUT_MS,
  REDIS_SKIP_MS,
} from "../../../src/bounds.ts";
import { exposition } from "../../../src/telemetry/metrics.ts";
import { connect, type RedisSettings } from "../../../src/upstash/client.ts";
import { FloodGuard, guardFlood } from "../../../src/upstash/flood.ts";
import { RedisBridge } from "../../support/redis-bridge.ts";
import { HAS_REDIS, NEEDS_REDIS } from "../../support/redis-server.ts";
import { ASKER, AT_MS, Later } from "./support.ts";

const LIMIT = 3;
/** A busy machine may be late by this much; a guard that waits for a stalled Redis would be late by seconds. */
const SLACK_MS = 800;

describe.skipIf(!HAS_REDIS)(`the flood guard${NEEDS_REDIS}`, () => {
  let bridge: RedisBridge;
  let redis: Redis;
  let guard: FloodGuard;
  const later = new Later();
  beforeAll(async () => {
    bridge = await new RedisBridge().start();
    redis = connect(bridge.url, bridge.token);
  });
  beforeEach(() => {
    // The limiter reads the clock itself: it gets the one that the guard is told.
    vi.useFakeTimers({ toFake: ["Date"], now: AT_MS });
    guard = new FloodGuard(redis, LIMIT);
  });
  afterEach(async () => {
    vi.useRealTimers();
    await bridge.heal();
    await later.done();
    await bridge.redis.command("FLUSHALL");
  });
  afterAll(() => bridge.end());

  const check = (asker = ASKER, nowMs = AT_MS) => {
    vi.setSystemTime(nowMs);
    return guard.check(asker, nowMs, later);
  };
  const charged = async (atMs = AT_MS) => {
    const window = Math.floor(atMs / FLOOD_WINDOW_MS);
    return Number(
      await bridge.redis.command("GET", `meridian:flood:${ASKER.address}/${ASKER.keyId}:${window}`),
    );
  };
  const flood = () =>
    bridge.requests.filter((body) => JSON.stringify(body).includes("meridian:flood")).length;

  it("passes the limit and no more, and charges nothing for what it refuses", async () => {
    const verdicts = [];
    for (let nth = 0; nth < LIMIT; nth++) verdicts.push(await check());
    expect(verdicts).toEqual([null, null, null]);
    const resetMs = (Math.floor(AT_MS / FLOOD_WINDOW_MS) + 1) * FLOOD_WINDOW_MS;
    expect(await check()).toEqual({ tag: "flooded", retryAfterMs: resetMs - AT_MS });
    expect(await check(ASKER, AT_MS + FLOOD_DENIAL_CACHE_MS)).toMatchObject({ tag: "flooded" });
    expect(await charged()).toBe(LIMIT);
  });

  it("asks Redis nothing while somebody floods, and asks again soon after", async () => {
    for (let nth = 0; nth <= LIMIT; nth++) await check();
    const before = flood();
    for (let nth = 0; nth < 50; nth++) await check();
    expect(flood()).toBe(before);
    await check(ASKER, AT_MS + FLOOD_DENIAL_CACHE_MS);
    expect(flood()).toBe(before + 1);
  });

  it("counts each address and each key for itself", async () => {
    for (let nth = 0; nth <= LIMIT; nth++) await check();
    expect(await check({ ...ASKER, address: "198.51.100.8" })).toBeNull();
    expect(await check({ ...ASKER, keyId: "key0000002" })).toBeNull();
  });

  it("waits for a Redis that stalls for 5 s no longer than its timeout, and once", async () => {
    await check();
    bridge.stallMs = 5_000;
    const times = [];
    const before = bridge.requests.length;
    for (let nth = 0; nth < 10; nth++) {
      const fromMs = performance.now();
      expect(await check()).toBeNull();
      times.push(performance.now() - fromMs);
    }
    expect(times[0]).toBeGreaterThanOrEqual(REDIS_GUARD_TIMEOUT_MS - 5);
    expect(times[0]).toBeLessThan(REDIS_GUARD_TIMEOUT_MS + SLACK_MS);
    expect(Math.max(...times.slice(1))).toBeLessThan(REDIS_GUARD_TIMEOUT_MS / 2);
    expect(bridge.requests.length).toBe(before + 1);
  });

  it("waits once also where nothing was read before, lists and guard side by side", async () => {
    bridge.stallMs = 5_000;
    const fromMs = performance.now();
    expect(await check()).toBeNull();
    expect(performance.now() - fromMs).toBeLessThan(REDIS_GUARD_TIMEOUT_MS + SLACK_MS);
    expect(await check()).toBeNull();
    expect(bridge.requests.length).toBeGreaterThan(0);
  });

  it("tries a Redis that failed in the background, and waits for it again only once it answered", async () => {
    bridge.stallMs = 5_000;
    await check();
    const skipped = bridge.requests.length;
    await check(ASKER, AT_MS + REDIS_SKIP_MS - 1);
    expect(bridge.requests.length).toBe(skipped);
    // Still stalled: the trial is made, and nobody waits for it.
    const fromMs = performance.now();
    await Promise.all([check(ASKER, AT_MS + REDIS_SKIP_MS), check(ASKER, AT_MS + REDIS_SKIP_MS)]);
    expect(performance.now() - fromMs).toBeLessThan(REDIS_GUARD_TIMEOUT_MS / 2);
    await later.done();
    expect(bridge.requests.length).toBe(skipped + 1);
    await bridge.heal();
    const before = flood();
    await check(ASKER, AT_MS + 2 * REDIS_SKIP_MS);
    expect(flood()).toBe(before);
    await later.done();
    await check(ASKER, AT_MS + 2 * REDIS_SKIP_MS);
    expect(flood()).toBe(before + 1);
  });

  it("fails open when Redis is killed in the middle of a command, which is charged once", async () => {
    await check();
    bridge.cuts = 1;
    expect(await check()).toBeNull();
    expect(await charged()).toBe(2);
    await bridge.redis.kill();
    guard = new FloodGuard(redis, LIMIT);
    expect(await check()).toBeNull();
    await bridge.redis.start();
    expect(exposition([])).toMatch(/meridian_redis_failures_total\{use="guard"\} [1-9]/);
  });

  it("counts on after SCRIPT FLUSH", async () => {
    await check();
    await bridge.redis.command("SCRIPT", "FLUSH");
    expect(await check()).toBeNull();
    expect(await charged()).toBe(2);
  });
});

describe("guardFlood", () => {
  const request = { headers: new Headers({ "cf-connecting-ip": "198.51.100.7" }) };
  const claims = {
    tenantRef: ASKER.tenantRef,
    keyId: ASKER.keyId,
    homeHint: "enam",
    secretHash: "",
  } as const;

  async function warningsOf(settings: RedisSettings): Promise<string[]> {
    const warn = vi.spyOn(console, "warn").mockImplementation(() => undefined);
    const later = new Later();
    try {
      for (let nth = 0; nth < 3; nth++) await guardFlood(request, claims, settings, later);
      expect(later.waiting).toBe(0);
      return warn.mock.calls.map(([line]) => String(line));
    } finally {
      warn.mockRestore();
    }
  }

  it.each<[string, RedisSettings, string]>([
    ["any setting", {}, "UPSTASH_REDIS_REST_URL and UPSTASH_REDIS_REST_TOKEN are not set"],
    ["a token", { UPSTASH_REDIS_REST_URL: "https://r.example" }, "UPSTASH_REDIS_REST_TOKEN is not set"],
    ["a URL", { UPSTASH_REDIS_REST_TOKEN: "secret-token" }, "UPSTASH_REDIS_REST_URL is not set"],
    [
      "a URL that is one",
      { UPSTASH_REDIS_REST_URL: "redis://r.example", UPSTASH_REDIS_REST_TOKEN: "secret-token" },
      "UPSTASH_REDIS_REST_URL is not a URL",
    ],
  ])("lets all pass without %s, and says so once", async (_, settings, detail) => {
    const lines = await warningsOf(settings);
    expect(lines.map((line) => JSON.parse(line))).toEqual([
      {
        event: "redis_off",
        detail,
        off: ["flood guard", "deny list", "kill switch", "usage mirror", "shared kept answers"],
      },
    ]);
    expect(lines.join()).not.toContain("secret-token");
  });
});
