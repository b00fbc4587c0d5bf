import { createExecutionContext } from "cloudflare:test";
import { env as bindings } from "cloudflare:workers";
import { describe, test, vi } from "vitest";
import { CACHE_ISOLATE_MAX_BYTES } from "../../src/bounds.ts";
import type { Env } from "../../src/env.ts";
import type { Entry } from "../../src/relay/cache-tiers.ts";

type Tiers = typeof import("../../src/relay/cache-tiers.ts");

const place = () => ({ env: bindings as unknown as Env, ctx: createExecutionContext() });

/** The tiers as another isolate of the location has them: its own memory, the same cache. */
async function isolate(): Promise<Tiers> {
  vi.resetModules();
  return import("../../src/relay/cache-tiers.ts");
}

function entry(more: Partial<Entry> = {}): Entry {
  const nowMs = Date.now();
  return {
    ...{
      tenantRef: "00000000abc",
      contentType: "application/json",
      text: '{"said":"\u{1F30A}"}',
      served: "m",
    },
    ...{ storedAtMs: nowMs, freshUntilMs: nowMs + 60_000, staleUntilMs: nowMs + 120_000 },
    saved: { promptTokens: 1, outputTokens: 2 },
    ...more,
  };
}

describe("tiers of the response cache", () => {
  test("what one isolate keeps, another of the location finds", async ({ expect }) => {
    const kept = entry();
    const key = crypto.randomUUID();
    await (await isolate()).keepEntry(key, kept, place());
    expect(await (await isolate()).findEntry(key, place())).toEqual(kept);
    expect(await (await isolate()).findEntry(crypto.randomUUID(), place())).toBeNull();
  });

  test("one whose time is over is none, in memory as in the location's cache", async ({ expect }) => {
    const key = crypto.randomUUID();
    const first = await isolate();
    await first.keepEntry(key, entry({ staleUntilMs: Date.now() - 1 }), place());
    expect(await first.findEntry(key, place())).toBeNull();
    expect(await (await isolate()).findEntry(key, place())).toBeNull();
  });

  test("an isolate's memory is bounded: the oldest go first", async ({ expect }) => {
    const tiers = await isolate();
    vi.spyOn(caches.default, "match").mockRejectedValue(new Error("no cache here"));
    const text = "x".repeat(CACHE_ISOLATE_MAX_BYTES / 8);
    for (const key of ["a", "b", "c", "d", "e"]) await tiers.keepEntry(key, entry({ text }), place());
    expect(await tiers.findEntry("a", place())).toBeNull();
    expect(await tiers.findEntry("e", place())).not.toBeNull();
    vi.restoreAllMocks();
  });

  test("a cache that fails is one tier less", async ({ expect }) => {
    const tiers = await isolate();
    vi.spyOn(caches.default, "put").mockRejectedValue(new Error("no cache here"));
    const key = crypto.randomUUID();
    await tiers.keepEntry(key, entry(), place());
    vi.restoreAllMocks();
    expect(await tiers.findEntry(key, place())).not.toBeNull();
    expect(await (await isolate()).findEntry(key, place())).toBeNull();
  });
});
