import { readFileSync } from "node:fs";
import { Ratelimit } from "@upstash/ratelimit";
import type { Redis } from "@upstash/redis/cloudflare";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it, vi } from "vitest";
import { connect } from "../../../src/upstash/client.ts";
import { RedisBridge } from "../../support/redis-bridge.ts";
import { HAS_REDIS, NEEDS_REDIS } from "../../support/redis-server.ts";

const AT_MS = Date.UTC(2027, 0, 1, 12);
const PREFIX = "t";

it("is the version whose faults these tests show", () => {
  const manifest = readFileSync(new URL("../../../package.json", import.meta.url), "utf8");
  const { dependencies } = JSON.parse(manifest) as { dependencies: Record<string, string> };
  expect(dependencies).toMatchObject({ "@upstash/redis": "1.39.0", "@upstash/ratelimit": "2.2.0" });
});

/** The pinned limiter against the bridge. What it does wrong here, src/upstash/flood.ts must not ask of it. */
describe.skipIf(!HAS_REDIS)(`@upstash/ratelimit${NEEDS_REDIS}`, () => {
  let bridge: RedisBridge;
  let redis: Redis;
  beforeAll(async () => {
    bridge = await new RedisBridge().start();
    redis = connect(bridge.url, bridge.token);
  });
  // Only the clock is made: whole windows, and no test on the border of two.
  beforeEach(() => vi.useFakeTimers({ toFake: ["Date"], now: AT_MS }));
  afterEach(async () => {
    vi.useRealTimers();
    await bridge.heal();
    await bridge.redis.command("FLUSHALL");
  });
  afterAll(() => bridge.end());

  type Limiter = ReturnType<typeof Ratelimit.slidingWindow> | ReturnType<typeof Ratelimit.tokenBucket>;
  const limiterOf = (limiter: Limiter, cache: Map<string, number> | false = false) =>
    new Ratelimit({ redis, prefix: PREFIX, limiter, ephemeralCache: cache, enableTelemetry: false });
  /** What is charged in the window of `AT_MS`, of 10 s. */
  const charged = async (id: string) =>
    Number(await bridge.redis.command("GET", `${PREFIX}:${id}:${Math.floor(AT_MS / 10_000)}`));

  it("survives SCRIPT FLUSH: NOSCRIPT makes it send the script, and it counts on", async () => {
    const limiter = limiterOf(Ratelimit.slidingWindow(3, "10 s"));
    expect((await limiter.limit("a")).remaining).toBe(2);
    await bridge.redis.command("SCRIPT", "FLUSH");
    const before = bridge.requests.length;
    expect((await limiter.limit("a")).remaining).toBe(1);
    expect(bridge.requests.slice(before).map((body) => (body as string[])[0])).toEqual(["evalsha", "eval"]);
    expect(await charged("a")).toBe(2);
  });

  it("answers within its timeout while Redis stalls for 5 s, and says so", async () => {
    vi.useRealTimers();
    bridge.stallMs = 5_000;
    const limiter = new Ratelimit({
      ...{ redis, prefix: PREFIX, ephemeralCache: false as const, enableTelemetry: false, timeout: 200 },
      limiter: Ratelimit.slidingWindow(1, "10 s"),
    });
    const fromMs = performance.now();
    expect(await limiter.limit("a")).toMatchObject({ success: true, reason: "timeout" });
    expect(performance.now() - fromMs).toBeLessThan(1_000);
  });

  it("rejects, uncaught by its timeout, when Redis fails at once", async () => {
    bridge.cuts = 1;
    await expect(limiterOf(Ratelimit.slidingWindow(1, "10 s")).limit("a")).rejects.toThrow();
  });

  it("sliding window at rate 1 does not charge what it refuses", async () => {
    const limiter = limiterOf(Ratelimit.slidingWindow(2, "10 s"));
    const verdicts = [];
    for (let nth = 0; nth < 5; nth++) verdicts.push((await limiter.limit("a")).success);
    expect(verdicts).toEqual([true, true, false, false, false]);
    expect(await charged("a")).toBe(2);
  });

  it("fault: sliding window at a higher rate charges what it refuses", async () => {
    const limiter = limiterOf(Ratelimit.slidingWindow(2, "10 s"));
    expect((await limiter.limit("a", { rate: 1 })).success).toBe(true);
    expect((await limiter.limit("a", { rate: 5 })).success).toBe(false);
    expect(await charged("a")).toBe(6);
  });

  it("fault: fixed window charges what it refuses", async () => {
    const limiter = limiterOf(Ratelimit.fixedWindow(1, "10 s"));
    for (let nth = 0; nth < 3; nth++) await limiter.limit("a");
    expect(await charged("a")).toBe(3);
  });

  it("fault: a refund on a fresh key leaves more than the limit", async () => {
    const limiter = limiterOf(Ratelimit.slidingWindow(2, "10 s"));
    await limiter.limit("a", { rate: -3 });
    const verdicts = [];
    for (let nth = 0; nth < 6; nth++) verdicts.push((await limiter.limit("a")).success);
    expect(verdicts).toEqual([true, true, true, true, true, false]);
  });

  it("mended in this version: a token bucket refuses what is too large and charges nothing", async () => {
    const limiter = limiterOf(Ratelimit.tokenBucket(1, "10 s", 2));
    expect((await limiter.limit("a", { rate: 5 })).success).toBe(false);
    expect((await limiter.limit("a", { rate: 2 })).success).toBe(true);
  });

  it("fault: a token bucket's refund leaves more than its size", async () => {
    const limiter = limiterOf(Ratelimit.tokenBucket(1, "10 s", 2));
    expect((await limiter.limit("a", { rate: -3 })).remaining).toBe(5);
  });

  it("fault: the cached fixed window never lets its keys expire", async () => {
    const limiter = limiterOf(Ratelimit.cachedFixedWindow(2, "10 s"), new Map());
    await limiter.limit("a");
    expect(await bridge.redis.command("PTTL", `${PREFIX}:a:${Math.floor(AT_MS / 10_000)}`)).toBe(-1);
  });

  it("fault: the cache of refusals blocks cheap requests after a dear one, and forgets nobody who stays away", async () => {
    const cache = new Map<string, number>();
    const limiter = limiterOf(Ratelimit.slidingWindow(4, "10 s"), cache);
    await limiter.limit("a", { rate: 9 });
    expect(await limiter.limit("a")).toMatchObject({ success: false, reason: "cacheBlock" });
    for (const id of ["b", "c", "d"]) await limiter.limit(id, { rate: 9 });
    vi.setSystemTime(AT_MS + 60_000);
    await limiter.limit("e");
    expect(cache.size).toBe(4);
  });
});
