import { describe, expect, it } from "vitest";
import { BLOCK_EARNING_PER_SECOND, BLOCK_REST_MS, BLOCK_USE_MS } from "../../../src/limits/bounds.ts";
import type { BlockAnswer } from "../../../src/limits/messages.ts";
import {
  asked,
  draw,
  due,
  ended,
  lost,
  NEW_SPENDER,
  type Spender,
  took,
} from "../../../src/limits/spender.ts";
import { ASK } from "../../support/tenant.ts";

const NOW = 1_800_000_000_000;
const GRANT = {
  ok: true,
  ...{ tokens: 1_000, requests: 5, useMs: BLOCK_USE_MS, wholeTokens: 100_000, endUsersHaveLimits: false },
  standing: { tokens: null, requests: null, day: null },
  profile: { tenantId: "acme", version: 1, homeHint: "enam", regions: null },
} as const satisfies BlockAnswer;

/** With a block whose ask left at NOW. */
function withBlock(grant: Partial<typeof GRANT> = {}): Spender {
  const { spender } = asked(NEW_SPENDER, NOW);
  return took(spender, "b", { ...GRANT, ...grant }, NOW, NOW + 5);
}

/** After `count` requests within a second. */
function busy(count: number, from = NEW_SPENDER): Spender {
  let spender = from;
  for (let index = 0; index < count; index++) {
    ({ spender } = draw(spender, ASK, NOW - 1_000 + Math.floor((index * 1_000) / count)));
  }
  return spender;
}

describe("an isolate with a block", () => {
  it("admits out of it until its tokens or requests are used up, and never beyond", () => {
    let spender = withBlock();
    const drawn = [];
    for (let index = 0; index < 5; index++) {
      const next = draw(spender, ASK, NOW + 10);
      spender = next.spender;
      drawn.push(next.drawn?.claim ?? null);
    }
    // 10 tokens of prompt and a first step of 256 each.
    expect(drawn).toEqual([
      { id: "b", tokens: 266 },
      { id: "b", tokens: 266 },
      { id: "b", tokens: 266 },
      null,
      null,
    ]);
    const few = { ...ASK, maxOutputTokens: 1 };
    let admitted = 0;
    for (let index = 0; index < 10; index++) {
      const next = draw(spender, few, NOW + 10);
      spender = next.spender;
      admitted += next.drawn ? 1 : 0;
    }
    expect(admitted).toBe(2);
  });

  it("admits nothing once its time is over, counted from when its ask left, or when the clock stepped back", () => {
    const spender = withBlock();
    expect(draw(spender, ASK, NOW + BLOCK_USE_MS - 1).drawn).not.toBeNull();
    expect(draw(spender, ASK, NOW + BLOCK_USE_MS).drawn).toBeNull();
    expect(draw(spender, ASK, NOW - 1).drawn).toBeNull();
    expect(draw(withBlock({ useMs: 0 } as never), ASK, NOW).drawn).toBeNull();
  });

  it("asks for requests of end users with limits of their own, and for those that never fit", () => {
    const users = withBlock({ endUsersHaveLimits: true } as never);
    expect(draw(users, { ...ASK, endUser: "somebody" }, NOW).drawn).toBeNull();
    expect(draw(users, ASK, NOW).drawn).not.toBeNull();
    expect(draw(withBlock(), { ...ASK, endUser: "somebody" }, NOW).drawn).not.toBeNull();
    expect(draw(withBlock({ wholeTokens: 9 } as never), ASK, NOW).drawn).toBeNull();
    expect(draw(withBlock({ wholeTokens: 100 } as never), ASK, NOW).drawn).toMatchObject({
      claim: { tokens: 100 },
      outputCapTokens: 90,
    });
  });

  it("tells of it once: what it admitted, with the next ask or when nobody asks again", () => {
    const { spender } = draw(withBlock(), ASK, NOW + 10);
    const second = asked(spender, NOW + 600);
    expect(second.told).toEqual([]);
    const replaced = took(second.spender, "c", GRANT, NOW + 600, NOW + 620);
    expect(asked(replaced, NOW + 1_200).told).toEqual([{ id: "b", requests: 1, tokens: 266 }]);
    expect(ended(replaced, NOW)).toBeNull();
    const last = ended(replaced, NOW + 600)!;
    expect(last.told).toEqual([
      { id: "b", requests: 1, tokens: 266 },
      { id: "c", requests: 0, tokens: 0 },
    ]);
    expect(draw(last.spender, ASK, NOW + 630).drawn).toBeNull();
    expect(ended(last.spender, NOW + 600)).toBeNull();
  });

  it("tells again what a lost ask told, and gives back what that may have been granted", () => {
    const told = [{ id: "b", requests: 1, tokens: 266 }];
    const spender = lost(asked(NEW_SPENDER, NOW).spender, "c", told, NOW + 5_000);
    expect(asked(spender, NOW + 9_000).told).toEqual([...told, { id: "c", requests: 0, tokens: 0 }]);
  });

  it("drops its block when the key itself is refused", () => {
    const refused = took(
      withBlock(),
      "c",
      { ok: false, failure: { tag: "revoked_key" } },
      NOW + 500,
      NOW + 510,
    );
    expect(draw(refused, ASK, NOW + 520).drawn).toBeNull();
    expect(ended(refused, NOW)!.told).toEqual([{ id: "b", requests: 0, tokens: 0 }]);
  });
});

describe("when an isolate asks for a block", () => {
  it("is when its demand earns one: what it will admit in the time that a block may be used", () => {
    expect(due(busy(10), NOW)).toBeNull();
    const size = due(busy(1_000), NOW)!;
    expect(size.requests).toBeGreaterThan(BLOCK_EARNING_PER_SECOND);
    expect(size.requests).toBeLessThanOrEqual(200);
    expect(size.tokens / size.requests).toBeCloseTo(266, -1);
  });

  it("is one ask at a time, again after a rest, and with half of the last block used", () => {
    const hot = busy(1_000);
    const { spender } = asked(hot, NOW);
    expect(due(spender, NOW + 1)).toBeNull();
    const resting = took(spender, "b", { ok: false, failure: null }, NOW, NOW + 5);
    expect(due(resting, NOW + 6)).toBeNull();
    expect(due(resting, NOW + 5 + BLOCK_REST_MS)).not.toBeNull();
    const full = took(spender, "b", GRANT, NOW, NOW + 5);
    expect(due(full, NOW + 6)).toBeNull();
    expect(due(full, NOW + BLOCK_USE_MS / 2)).not.toBeNull();
    const half = draw(draw(full, ASK, NOW + 6).spender, ASK, NOW + 6).spender;
    expect(due(half, NOW + 6)).not.toBeNull();
  });

  it("is not held up by a clock that stepped back", () => {
    const { spender } = asked(busy(1_000), NOW + 60_000);
    expect(due(spender, NOW)).not.toBeNull();
  });
});
