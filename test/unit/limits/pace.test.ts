import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { RESERVE_AHEAD_MS } from "../../../src/bounds.ts";
import { PACE_AHEAD_MAX_MS } from "../../../src/limits/bounds.ts";
import { finish, report, reserve } from "../../../src/limits/ledger.ts";
import { aheadTokens, learnt, NO_PACE, repaced } from "../../../src/limits/pace.ts";
import { ASK, MemoryBook, tenantRecord } from "../../support/tenant.ts";

const PER_MINUTE = 60_000;

function pace(tokensPerSecond: number, streams: number, meanTokens: number) {
  return { tokensPerSecond, streams, meanTokens };
}

describe("what admission leaves to running streams", () => {
  it("is their next extensions while the rate feeds them all", () => {
    expect(aheadTokens(NO_PACE, PER_MINUTE)).toBe(0);
    expect(aheadTokens(pace(1_000, 10, 5_000), PER_MINUTE)).toBe(RESERVE_AHEAD_MS);
  });

  it("is also what they use beyond the rate in the length of a stream, which has a bound", () => {
    expect(aheadTokens(pace(1_500, 10, 3_000), PER_MINUTE)).toBe(500 * 20 + 1.5 * RESERVE_AHEAD_MS);
    const longest = (500 * PACE_AHEAD_MAX_MS) / 1_000 + 1.5 * RESERVE_AHEAD_MS;
    expect(aheadTokens(pace(1_500, 10, 1e9), PER_MINUTE)).toBe(longest);
  });

  it("comes and goes with the streams, exactly", () => {
    fc.assert(
      fc.property(fc.array(fc.nat(500), { maxLength: 30 }), (paces) => {
        let all = NO_PACE;
        for (const one of paces) all = repaced(repaced(all, 0, 7), 7, one);
        for (const one of paces) all = repaced(all, one, 0);
        expect(all).toEqual(NO_PACE);
      }),
    );
    expect(learnt(learnt(NO_PACE, 100), 200).meanTokens).toBe(105);
  });

  it("follows reports, and ends with the request", () => {
    const book = new MemoryBook(tenantRecord({ tokensPerMinute: 10_000 }));
    const said = (requestId: string, final: boolean) => {
      const usage = { promptTokens: 10, cachedTokens: 0, outputTokens: 50 };
      const attempt = { attempt: 0, usage, final, tokensPerSecond: 50, unsent: false };
      book.apply(report(book, { requestId, keyId: ASK.keyId, model: "m", ...attempt }, 1_000).change);
    };
    for (const requestId of ["a", "b"]) book.apply(reserve(book, { ...ASK, requestId }, 0).change);
    said("a", false);
    said("b", false);
    expect(book.account("tenant")!.pace).toMatchObject({ tokensPerSecond: 100, streams: 2 });
    book.apply(finish(book, "a", 1_500));
    expect(book.account("tenant")!.pace).toMatchObject({ tokensPerSecond: 50, streams: 1 });
    said("a", true);
    said("b", true);
    expect(book.account("tenant")!.pace).toEqual({ tokensPerSecond: 0, streams: 0, meanTokens: 60 });
  });
});

describe("five calls at once against 100 tokens a minute", () => {
  it("are never told to go together, however they report", () => {
    const book = new MemoryBook(tenantRecord({ tokensPerMinute: 100 }));
    const answers = ["a", "b", "c", "d", "e"].map((requestId) => {
      const { answer, change } = reserve(book, { ...ASK, requestId, promptTokens: 30 }, 0);
      book.apply(change);
      return answer;
    });
    expect(answers.map(({ ok }) => ok)).toEqual([true, false, false, false, false]);
    expect(answers[0]).toMatchObject({ reservedTokens: 100, outputCapTokens: 70 });
  });
});
