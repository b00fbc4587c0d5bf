import { Redis } from "@upstash/redis/cloudflare";
import { afterAll, afterEach, beforeAll, describe, expect, it, vi } from "vitest";
import { REDIS_CALL_TIMEOUT_MS } from "../../../src/bounds.ts";
import { connect } from "../../../src/upstash/client.ts";
import { RedisBridge } from "../../support/redis-bridge.ts";
import { HAS_REDIS, NEEDS_REDIS } from "../../support/redis-server.ts";

/** The pinned client against the bridge: its protocol, and each of its faults beside the way around it. */
describe.skipIf(!HAS_REDIS)(`@upstash/redis${NEEDS_REDIS}`, () => {
  let bridge: RedisBridge;
  let ours: Redis;
  beforeAll(async () => {
    bridge = await new RedisBridge().start();
    ours = connect(bridge.url, bridge.token);
  });
  afterEach(async () => {
    await bridge.heal();
    await bridge.redis.command("FLUSHALL");
  });
  afterAll(() => bridge.end());

  it("speaks the protocol: texts, numbers, nothing, lists, and Redis' errors word for word", async () => {
    await ours.set("text", "Grüße 🌍");
    expect(await ours.get("text")).toBe("Grüße 🌍");
    expect(await ours.get("nothing")).toBeNull();
    expect(await ours.incr("number")).toBe(1);
    expect(await ours.eval("return {1, 'two', {'three', false}}", [], [])).toEqual([
      1,
      "two",
      ["three", null],
    ]);
    await expect(ours.incr("text")).rejects.toThrow("ERR value is not an integer or out of range");
    await expect(ours.evalsha("0".repeat(40), [], [])).rejects.toThrow("NOSCRIPT No matching script");
    await expect(connect(bridge.url, "another").get("text")).rejects.toThrow("Unauthorized");
  });

  it("pipelines, and runs a transaction on one connection", async () => {
    await ours.set("text", "x");
    const mixed = await ours.pipeline().incr("a").incr("text").exec({ keepErrors: true });
    expect(mixed.map(({ result, error }) => error ?? result)).toEqual([
      1,
      expect.stringContaining("ERR value"),
    ]);
    expect(await ours.multi().incr("a").get("text").exec()).toEqual([2, "x"]);
  });

  it("sends a cut command twice under 'retry: false'; ours goes out once", async () => {
    const theirs = new Redis({
      url: bridge.url,
      token: bridge.token,
      retry: false,
      enableAutoPipelining: false,
    });
    bridge.cuts = 2;
    await expect(theirs.incr("theirs")).rejects.toThrow();
    expect(await bridge.redis.command("GET", "theirs")).toBe("2");
    bridge.cuts = 1;
    await expect(ours.incr("ours")).rejects.toThrow();
    expect(await bridge.redis.command("GET", "ours")).toBe("1");
  });

  it("takes an aborted command for an answered one under a plain signal; ours rejects", async () => {
    const options = { url: bridge.url, token: bridge.token, enableAutoPipelining: false } as const;
    const reason = "aborted by the caller";
    const plain = new Redis({
      ...options,
      signal: AbortSignal.abort(reason),
      automaticDeserialization: false,
    });
    expect(await plain.get("key")).not.toBeNull();
    const made = new Redis({ ...options, signal: () => AbortSignal.abort(new Error(reason)) });
    await expect(made.get("key")).rejects.toThrow(reason);
  });

  it("joins commands of one moment into one request by default; ours keeps them apart", async () => {
    const theirs = new Redis({ url: bridge.url, token: bridge.token });
    let before = bridge.requests.length;
    await Promise.all([theirs.get("a"), theirs.get("b")]);
    expect(bridge.requests.slice(before)).toEqual([
      [
        ["get", "a"],
        ["get", "b"],
      ],
    ]);
    before = bridge.requests.length;
    await Promise.all([ours.get("a"), ours.get("b")]);
    expect(bridge.requests.length - before).toBe(2);
  });

  it("makes numbers of texts by default; ours leaves them", async () => {
    await bridge.redis.command("SADD", "ids", "1234567890");
    const theirs = new Redis({ url: bridge.url, token: bridge.token });
    expect(await theirs.smembers("ids")).toEqual([1234567890]);
    expect(await ours.smembers("ids")).toEqual(["1234567890"]);
  });

  it("answers HGETALL with a flat list where nothing is parsed, whatever its type says", async () => {
    await bridge.redis.command("HSET", "hash", "field", "1");
    const hash: unknown = await ours.hgetall("hash");
    expect(hash).toEqual(["field", "1"]);
  });

  it("names the whole command in an error, so messages are for no log", async () => {
    await bridge.redis.command("SET", "text", "x");
    await expect(ours.hget("text", "2001:db8::1")).rejects.toThrow("2001:db8::1");
  });

  it("gives up a command that Redis does not answer, also when nobody else does", async () => {
    bridge.stallMs = 60_000;
    const timeout = AbortSignal.timeout.bind(AbortSignal);
    const spy = vi.spyOn(AbortSignal, "timeout").mockImplementation(() => timeout(20));
    await expect(ours.get("key")).rejects.toMatchObject({ name: "TimeoutError" });
    expect(spy.mock.calls).toEqual([[REDIS_CALL_TIMEOUT_MS]]);
    spy.mockRestore();
  });

  it("rejects while Redis is dead, and works again after it came back", async () => {
    await bridge.redis.kill();
    await expect(ours.get("key")).rejects.toThrow("no Redis");
    await bridge.redis.start();
    expect(await ours.get("key")).toBeNull();
  });
});
