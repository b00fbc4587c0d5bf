import { describe, expect, it } from "vitest";
import { reserve } from "../../../src/limits/ledger.ts";
import type { Standing } from "../../../src/limits/messages.ts";
import { duration, standingHeaders } from "../../../src/relay/headers.ts";
import { ASK, MemoryBook, tenantRecord } from "../../support/tenant.ts";

const STANDING: Standing = {
  tokens: { scope: "tenant", limit: 1_000, remaining: 480, resetMs: 31_200 },
  requests: { scope: "key", limit: 60, remaining: 59, resetMs: 1_000 },
  day: { scope: "tenant", limit: 50_000, remaining: 49_000, resetMs: 86_400_000 },
};
const NOW = Date.UTC(2026, 10, 23, 12, 0, 0, 500);

describe("where a tenant stands", () => {
  it("is told to OpenAI's clients as they know it, and in the draft's words", () => {
    expect(standingHeaders(STANDING, "openai", NOW)).toEqual({
      "x-ratelimit-limit-tokens": "1000",
      "x-ratelimit-remaining-tokens": "480",
      "x-ratelimit-reset-tokens": "31.2s",
      "x-ratelimit-limit-requests": "60",
      "x-ratelimit-remaining-requests": "59",
      "x-ratelimit-reset-requests": "1s",
      "ratelimit-policy": '"tpm";q=1000;qu="tokens";w=60, "rpm";q=60;w=60, "tpd";q=50000;qu="tokens";w=86400',
      ratelimit: '"tpm";r=480;t=32, "rpm";r=59;t=1, "tpd";r=49000;t=86400',
    });
  });

  it("is told to Anthropic's clients with instants that are never early", () => {
    const headers = standingHeaders(STANDING, "anthropic", NOW);
    expect(headers["anthropic-ratelimit-tokens-limit"]).toBe("1000");
    expect(headers["anthropic-ratelimit-tokens-reset"]).toBe("2026-11-23T12:00:32Z");
    expect(headers["anthropic-ratelimit-requests-remaining"]).toBe("59");
    expect(Object.keys(headers).filter((name) => name.startsWith("x-ratelimit"))).toEqual([]);
  });

  it("is silent where there is no limit", () => {
    expect(standingHeaders({ tokens: null, requests: null, day: null }, "openai", NOW)).toEqual({});
    expect(standingHeaders(null, "openai", NOW)).toEqual({});
  });

  it("comes from the tightest scope of the request", () => {
    const limits = { tokensPerMinute: 10_000, tokensPerDay: 20_000 };
    const book = new MemoryBook(tenantRecord(limits, { key: { limits: { tokensPerMinute: 500 } } }));
    const { answer } = reserve(book, ASK, 0);
    expect(answer.ok && answer.standing).toEqual({
      tokens: { scope: "key", limit: 500, remaining: 500 - 266, resetMs: 31_920 },
      requests: null,
      day: { scope: "tenant", limit: 20_000, remaining: 20_000 - 266, resetMs: 86_400_000 },
    });
  });

  it("writes durations as OpenAI does", () => {
    expect([20, 999, 1_000, 1_540, 59_950, 360_000].map(duration)).toEqual([
      "20ms",
      "999ms",
      "1s",
      "1.6s",
      "60s",
      "6m0s",
    ]);
  });
});
