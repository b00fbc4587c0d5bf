import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it, vi } from "vitest";
import { LISTS_FRESH_MS, LISTS_IN_FORCE_MS, LISTS_STALE_MAX_MS, REDIS_SKIP_MS } from "../../../src/bounds.ts";
import { tenantRefOf } from "../../../src/keys.ts";
import { exposition } from "../../../src/telemetry/metrics.ts";
import { connect } from "../../../src/upstash/client.ts";
import { FloodGuard } from "../../../src/upstash/flood.ts";
import { type Asker, addressOf, DENIED_KEY, DenyLists } from "../../../src/upstash/lists.ts";
import { RedisBridge } from "../../support/redis-bridge.ts";
import { HAS_REDIS, NEEDS_REDIS } from "../../support/redis-server.ts";
import { ASKER, AT_MS, Later } from "./support.ts";

const IN_FORCE_WITHIN_MS = 10_000;

describe.skipIf(!HAS_REDIS)(`deny list and kill switch${NEEDS_REDIS}`, () => {
  let bridge: RedisBridge;
  let guard: FloodGuard;
  let asker: Asker;
  const later = new Later();
  beforeAll(async () => {
    bridge = await new RedisBridge().start();
    asker = { ...ASKER, tenantRef: await tenantRefOf("acme") };
  });
  beforeEach(() => {
    vi.useFakeTimers({ toFake: ["Date"], now: AT_MS });
    guard = new FloodGuard(connect(bridge.url, bridge.token), 1_000);
  });
  afterEach(async () => {
    vi.useRealTimers();
    await bridge.heal();
    await later.done();
    await bridge.redis.command("FLUSHALL");
  });
  afterAll(() => bridge.end());

  /** One request, and what it left for the background. */
  async function tagAt(nowMs: number, who = asker): Promise<string | null> {
    vi.setSystemTime(nowMs);
    const failure = await guard.check(who, nowMs, later);
    await later.done();
    return failure?.tag ?? null;
  }
  /** What a request is told 10 s after `fromMs`, with others in between. */
  async function tagAfter(fromMs: number, everyMs: number): Promise<string | null> {
    for (let passedMs = everyMs; passedMs < IN_FORCE_WITHIN_MS; passedMs += everyMs) {
      await tagAt(fromMs + passedMs);
    }
    return tagAt(fromMs + IN_FORCE_WITHIN_MS);
  }
  const readings = () => bridge.requests.filter((body) => (body as string[])[0] === "smembers").length;

  it.each([
    ["tenant:acme", "tenant_suspended"],
    ["key:key0000001", "revoked_key"],
    ["address:198.51.100.7", "address_denied"],
  ])("%s is refused as %s, from an isolate's first request on", async (member, tag) => {
    await bridge.redis.command("SADD", DENIED_KEY, member);
    expect(await tagAt(AT_MS)).toBe(tag);
    const other = { tenantRef: "00000000xyz", keyId: "key0000002", address: "198.51.100.8" };
    expect(await tagAt(AT_MS, other)).toBeNull();
  });

  it.each([100, 1_000, 2_900, 4_000, 7_900, 9_000, 10_000])(
    "is in force within 10 s, and lifted within 10 s, with a request every %i ms",
    async (everyMs) => {
      expect(await tagAt(AT_MS)).toBeNull();
      // The worst moment: right after a reading.
      await bridge.redis.command("SADD", DENIED_KEY, "tenant:acme");
      expect(await tagAfter(AT_MS, everyMs)).toBe("tenant_suspended");
      await bridge.redis.command("SREM", DENIED_KEY, "tenant:acme");
      expect(await tagAfter(AT_MS + IN_FORCE_WITHIN_MS, everyMs)).toBeNull();
    },
  );

  it("is read at most every few seconds however many requests come, and nobody waits for it meanwhile", async () => {
    await tagAt(AT_MS);
    const before = readings();
    for (let atMs = AT_MS; atMs < AT_MS + 3 * LISTS_FRESH_MS; atMs += 10) await tagAt(atMs);
    expect(readings() - before).toBe(2);
  });

  it("is read in time also when all who come are denied", async () => {
    await bridge.redis.command("SADD", DENIED_KEY, "tenant:acme");
    await tagAt(AT_MS);
    await bridge.redis.command("DEL", DENIED_KEY);
    expect(await tagAt(AT_MS + LISTS_FRESH_MS)).toBe("tenant_suspended");
    expect(await tagAt(AT_MS + LISTS_FRESH_MS + 1)).toBeNull();
  });

  it("is read once by many requests at the moment at which it has aged", async () => {
    await tagAt(AT_MS);
    const before = readings();
    const atMs = AT_MS + LISTS_FRESH_MS;
    await Promise.all(Array.from({ length: 20 }, () => guard.check(asker, atMs, later)));
    await later.done();
    expect(readings() - before).toBe(1);
  });

  it("stands while Redis is away, for a bounded time; then nobody is denied, and a counter tells", async () => {
    await bridge.redis.command("SADD", DENIED_KEY, "tenant:acme");
    await tagAt(AT_MS);
    await bridge.redis.kill();
    expect(await tagAt(AT_MS + LISTS_IN_FORCE_MS)).toBe("tenant_suspended");
    for (let atMs = AT_MS; atMs < AT_MS + LISTS_STALE_MAX_MS; atMs += REDIS_SKIP_MS) {
      expect(await tagAt(atMs)).toBe("tenant_suspended");
    }
    const ignored = () => Number(/^meridian_lists_ignored_total\{\} (\d+)$/m.exec(exposition([]))?.[1] ?? 0);
    const before = ignored();
    expect(await tagAt(AT_MS + LISTS_STALE_MAX_MS)).toBeNull();
    expect(ignored()).toBe(before + 1);
    await bridge.redis.start();
    await bridge.redis.command("SADD", DENIED_KEY, "tenant:acme");
    await tagAt(AT_MS + LISTS_STALE_MAX_MS + REDIS_SKIP_MS);
    expect(await tagAt(AT_MS + LISTS_STALE_MAX_MS + REDIS_SKIP_MS)).toBe("tenant_suspended");
  });

  it("shows what it understood", async () => {
    const slips = [
      "acme",
      "tenant:",
      "key:mrd_whole",
      "address:198.51.100.0/24",
      "address:example.net",
      "user:x",
    ];
    await bridge.redis.command("SADD", DENIED_KEY, "tenant:acme", "address:2001:db8::1", ...slips);
    await tagAt(AT_MS);
    const text = exposition([]);
    for (const [kind, entries] of [
      ["tenant", 1],
      ["key", 0],
      ["address", 1],
      ["unknown", slips.length],
    ]) {
      expect(text).toContain(`meridian_denied_entries{kind="${kind}"} ${entries}`);
    }
  });
});

describe("a reading", () => {
  it("that ends late does not undo a newer one", async () => {
    const answers: ((members: string[]) => void)[] = [];
    // The client's method is generic in what it reads.
    const smembers = (() => new Promise((resolve) => answers.push(resolve))) as never;
    const lists = new DenyLists({ smembers });
    const [older, newer] = [lists.read(AT_MS), lists.read(AT_MS + 1)];
    answers[1]!(["key:key0000001"]);
    await newer;
    answers[0]!([]);
    await older;
    expect(lists.denies(ASKER, AT_MS + 1)).toBe("key");
  });
});

describe("an address", () => {
  it.each([
    ["198.51.100.7", "198.51.100.7"],
    ["::ffff:198.51.100.7", "198.51.100.7"],
    ["2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"],
    ["2001:DB8:1:2::9", "2001:db8:1:2::/64"],
    ["2001:0db8:0001:0002::/64", "2001:db8:1:2::/64"],
    ["2001:db8::1", "2001:db8:0:0::/64"],
    ["2001:db8:0:0:1::", "2001:db8:0:0::/64"],
    ["::1", "0:0:0:0::/64"],
  ])("%s counts as %s", (text, expected) => expect(addressOf(text)).toBe(expected));
});
