import { describe, expect, it } from "vitest";
import { LEASE_TTL_MS } from "../../../src/bounds.ts";
import { newAccount } from "../../../src/limits/account.ts";
import { NONE } from "../../../src/limits/lease.ts";
import type { Lease } from "../../../src/limits/lease-home.ts";
import { NO_PACE } from "../../../src/limits/pace.ts";
import { isHomeShort, recalls, shareOf } from "../../../src/limits/share.ts";

const NOW_MS = 1_000_000;
const LONG_AGO_MS = NOW_MS - LEASE_TTL_MS;

const WEUR = { message: { holder: "weur", sequence: 2, want: NONE }, homeRequests: 0 };

function lease(holder: string, tokens: number, shortTokens: number, contactMs = NOW_MS): Lease {
  const granted = { ...NONE, tokens };
  const counters = { granted, settled: NONE, returned: NONE, sequence: 1 };
  return {
    holder,
    scope: "tenant",
    id: 1,
    ...counters,
    contactMs,
    shortTokens,
    shortSlots: 0,
    pace: NO_PACE,
    heldTokens: 0,
    wantedRequests: 0,
    ratePerMinute: null,
    state: "open",
  };
}

function parties(leases: readonly Lease[], homeShortMs = LONG_AGO_MS, perMinute = 9_000) {
  const leased = { ...NONE, tokens: leases.reduce((sum, { granted }) => sum + granted.tokens, 0) };
  const account = { ...newAccount("tenant", { tokensPerMinute: perMinute }, NOW_MS), leased };
  const left = { levelUnits: (perMinute - leased.tokens) * 60_000, atMs: NOW_MS };
  return { account: { ...account, tokens: left }, leases, homeShortMs };
}

describe("shares", () => {
  it("leave everything to one that is alone", () => {
    const share = shareOf({ ...parties([lease("weur", 8_000, 500)]), ...WEUR }, NOW_MS);
    expect(share).toMatchObject({ tokens: Infinity, othersShort: false });
  });

  it("are equal as soon as somebody else is short, the home included", () => {
    const all = [lease("weur", 8_000, 0), lease("apac", 0, 700)];
    expect(shareOf({ ...parties(all), ...WEUR }, NOW_MS)).toMatchObject({
      tokens: 3_000,
      othersShort: true,
    });
    expect(recalls(parties(all), NOW_MS)).toEqual([{ holder: "weur", keepTokens: 3_000 }]);
    const alone = parties([lease("weur", 8_000, 0)], NOW_MS);
    expect(shareOf({ ...alone, ...WEUR }, NOW_MS).tokens).toBe(4_500);
  });

  it("leave running streams what they hold and will need, and divide the rest", () => {
    const busy = { pace: { tokensPerSecond: 200, streams: 10, meanTokens: 500 }, heldTokens: 1_400 };
    const all = [{ ...lease("weur", 4_000, 0), ...busy }, lease("apac", 0, 700)];
    const message = { ...WEUR.message, ...busy };
    // Of 9,000 its streams need 1,400 and three seconds of 200; then 7,000 are divided by three.
    expect(shareOf({ ...parties(all), message, homeRequests: 0 }, NOW_MS).tokens).toBe(4_333);
    expect(recalls(parties([{ ...lease("weur", 5_000, 0), ...busy }, all[1]!]), NOW_MS)).toEqual([
      { holder: "weur", keepTokens: 4_333 },
    ]);
    expect(recalls(parties([{ ...lease("weur", 4_300, 0), ...busy }, all[1]!]), NOW_MS)).toEqual([]);
  });

  it("are by need where there is not enough for all that runs", () => {
    const busy = (tokensPerSecond: number) => ({
      pace: { tokensPerSecond, streams: 10, meanTokens: 500 },
      heldTokens: 3 * tokensPerSecond,
    });
    const all = [
      { ...lease("weur", 0, 0), ...busy(1_000) },
      { ...lease("apac", 0, 700), ...busy(3_000) },
    ];
    const message = { ...WEUR.message, ...busy(1_000) };
    expect(shareOf({ ...parties(all), message, homeRequests: 0 }, NOW_MS).tokens).toBe(9_000 / 4);
  });

  it("are called back from one that wants more itself where the home or another is short, and not for its own sake", () => {
    const greedy = lease("weur", 8_000, 500);
    expect(recalls(parties([greedy], NOW_MS), NOW_MS)).toEqual([{ holder: "weur", keepTokens: 4_500 }]);
    expect(recalls(parties([greedy, lease("apac", 0, 700)]), NOW_MS)).toEqual([
      { holder: "weur", keepTokens: 3_000 },
    ]);
    expect(recalls(parties([greedy, lease("apac", 0, 0)]), NOW_MS)).toEqual([]);
  });

  it("hold places to an equal part as well when somebody lacks one", () => {
    const all = [lease("weur", 0, 0), { ...lease("apac", 0, 0), shortSlots: 2 }];
    const limits = { concurrentRequests: 12 };
    expect(shareOf({ ...parties(all), limits, ...WEUR }, NOW_MS).slots).toBe(4);
    expect(shareOf({ ...parties(all), ...WEUR }, NOW_MS).slots).toBe(Infinity);
  });

  it("hold places to an equal part while more of them are out than a lowered limit has", () => {
    const { account, ...rest } = parties([lease("weur", 0, 0)]);
    const out = { ...rest, account: { ...account, open: 3, leased: { ...NONE, slots: 9 } }, ...WEUR };
    expect(shareOf({ ...out, limits: { concurrentRequests: 10 } }, NOW_MS)).toMatchObject({
      slots: 5,
      othersShort: true,
    });
    const enough = { ...out, limits: { concurrentRequests: 12 } };
    expect(shareOf(enough, NOW_MS)).toMatchObject({ slots: Infinity, othersShort: false });
  });

  it("forget who was not heard of for a time to live", () => {
    const all = [lease("weur", 8_000, 0), lease("apac", 0, 700, LONG_AGO_MS)];
    expect(recalls(parties(all), NOW_MS)).toEqual([]);
  });

  it("are nothing where an equal part could not admit one request", () => {
    const all = [lease("weur", 500, 0), lease("apac", 0, 300)];
    expect(recalls(parties(all, LONG_AGO_MS, 600), NOW_MS)).toEqual([{ holder: "weur", keepTokens: 0 }]);
  });

  it("are not cut by refusals of what their own location forwarded", () => {
    const all = [lease("weur", 8_000, 500)];
    expect(isHomeShort(all, "weur", NOW_MS)).toBe(false);
    expect(isHomeShort(all, "enam", NOW_MS)).toBe(true);
    expect(isHomeShort([lease("weur", 0, 0, LONG_AGO_MS)], "weur", NOW_MS)).toBe(true);
  });
});
