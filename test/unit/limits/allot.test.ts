import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { LEASE_TTL_MS } from "../../../src/bounds.ts";
import { type Account, newAccount, refusal } from "../../../src/limits/account.ts";
import { type Allotment, allot, besides, type Dividing, elsewhereOf } from "../../../src/limits/allot.ts";
import { PACE_AHEAD_MAX_MS } from "../../../src/limits/bounds.ts";
import { NONE, type Pace, type Quantity } from "../../../src/limits/lease.ts";
import * as holder from "../../../src/limits/lease-holder.ts";
import { type Lease, leasedOut, renew } from "../../../src/limits/lease-home.ts";
import { NO_PACE } from "../../../src/limits/pace.ts";
import { shareOf } from "../../../src/limits/share.ts";

const NOW_MS = 1_000_000;
const PER_MINUTE = 60_000;
const PER_SECOND = PER_MINUTE / 60;

function paced(tokensPerSecond: number, streams = 1, meanTokens = 1_000): Pace {
  return { tokensPerSecond, streams: tokensPerSecond === 0 ? 0 : streams, meanTokens };
}

function lease(name: string, tokensPerSecond: number, more: Partial<Lease> = {}): Lease {
  const counters = { granted: NONE, settled: NONE, returned: NONE, sequence: 1 };
  const short = { shortTokens: 0, shortSlots: 0 };
  const gauges = { pace: paced(tokensPerSecond), heldTokens: 0, wantedRequests: 0, ratePerMinute: 0 };
  const known = { holder: name, scope: "tenant", id: 1, contactMs: NOW_MS, state: "open" as const };
  return { ...known, ...counters, ...short, ...gauges, ...more };
}

/** The renewal of a holder that says what the home knows of it. */
function partOf(leases: readonly Lease[], at: number, more: Partial<Dividing> = {}): Allotment {
  const { holder, pace, wantedRequests } = leases[at]!;
  const want: Quantity = { ...NONE, requests: wantedRequests };
  const message = { holder, sequence: 2, pace, want };
  const home = { homePace: NO_PACE, homeRequests: 0 };
  return allot({ ratePerMinute: PER_MINUTE, ...home, leases, message, ...more }, NOW_MS);
}

describe("the rate", () => {
  it("feeds what runs, and what is left over goes by the requests that each place asks for", () => {
    const all = [lease("weur", 200, { wantedRequests: 30 }), lease("apac", 100, { wantedRequests: 10 })];
    const home = { homePace: paced(300), homeRequests: 0 };
    expect(partOf(all, 0, home).ratePerMinute).toBe((200 + (400 * 3) / 4) * 60);
    expect(partOf(all, 1, home).ratePerMinute).toBe((100 + 400 / 4) * 60);
    const shared = { ...home, homeRequests: 40 };
    expect(partOf(all, 0, shared).ratePerMinute).toBe((200 + (400 * 3) / 8) * 60);
  });

  it("is divided by pace where more runs than it feeds, the home's streams included", () => {
    const all = [lease("weur", 600, { wantedRequests: 30 }), lease("apac", 200)];
    const home = { homePace: paced(1_200), homeRequests: 100 };
    expect(partOf(all, 0, home).ratePerMinute).toBe((PER_MINUTE * 600) / 2_000);
    expect(partOf(all, 1, home).ratePerMinute).toBe((PER_MINUTE * 200) / 2_000);
  });

  it("leaves nothing more to who asks for nothing, and is nobody's where there is none", () => {
    expect(partOf([lease("weur", 50)], 0).ratePerMinute).toBe(50 * 60);
    expect(partOf([lease("weur", 50)], 0, { ratePerMinute: undefined }).ratePerMinute).toBeNull();
  });

  it("is promised once: parts and what the home runs stay within it, and feed all that runs if that fits", () => {
    const places = fc.array(fc.tuple(fc.nat(800), fc.nat(50)), { minLength: 1, maxLength: 9 });
    fc.assert(
      fc.property(places, fc.nat(1_500), fc.nat(50), (each, homePerSecond, homeRequests) => {
        const leases = each.map(([pace, wantedRequests], at) => lease(`h${at}`, pace, { wantedRequests }));
        const home = { homePace: paced(homePerSecond), homeRequests };
        const parts = leases.map((_, at) => partOf(leases, at, home).ratePerMinute!);
        const used = homePerSecond + each.reduce((sum, [pace]) => sum + pace, 0);
        const homePart = homePerSecond * Math.min(1, PER_SECOND / Math.max(1, used)) * 60;
        expect(parts.reduce((sum, part) => sum + part, homePart)).toBeLessThanOrEqual(PER_MINUTE + 1e-6);
        for (const [at, part] of parts.entries()) {
          expect(part).toBeGreaterThanOrEqual(0);
          if (used <= PER_SECOND) expect(part).toBeGreaterThanOrEqual(each[at]![0] * 60 - 1);
        }
      }),
    );
  });

  it("is divided by the newest that is known of a holder, whatever arrives late", () => {
    const known = [lease("weur", 900, { sequence: 5, wantedRequests: 9 })];
    const late = { holder: "weur", sequence: 5, pace: NO_PACE, want: NONE };
    const { others, ratePerMinute } = partOf(known, 0, { message: late });
    expect(ratePerMinute).toBe(PER_MINUTE);
    expect(others.allottedPerSecond).toBe(0);
    const versionBefore = { holder: "weur", sequence: 6, want: NONE };
    expect(partOf(known, 0, { message: versionBefore }).ratePerMinute).toBe(0);
  });
});

describe("what leases use elsewhere", () => {
  const at = (contactMs: number) => lease("weur", 400, { contactMs, ratePerMinute: 900 * 60 });

  it("is what their holders were told while they live, then what they ran, then nothing", () => {
    const perSecond = (contactMs: number) => elsewhereOf([at(contactMs)], NOW_MS).allottedPerSecond;
    expect(perSecond(NOW_MS)).toBe(900);
    expect(perSecond(NOW_MS - LEASE_TTL_MS)).toBe(400);
    expect(perSecond(NOW_MS - PACE_AHEAD_MAX_MS)).toBe(0);
    expect(besides(elsewhereOf([at(NOW_MS)], NOW_MS), at(NOW_MS), NOW_MS)).toEqual(
      elsewhereOf([at(NOW_MS), at(NOW_MS)], NOW_MS),
    );
  });

  it("is left aside at home, and less so the longer nobody has renewed", () => {
    const limits = { tokensPerMinute: PER_MINUTE };
    const busy = elsewhereOf(
      [lease("weur", 1_200, { ratePerMinute: 1_500 * 60, pace: paced(1_200, 60, 1_000) })],
      0,
    );
    // Streams of 50 s, 200 or 500 tokens a second beyond the rate.
    const level = (tokens: number): Account => {
      const account = newAccount("tenant", limits, 0);
      return {
        ...account,
        elsewhere: { ...busy, atMs: 0 },
        tokens: { levelUnits: tokens * 60_000, atMs: 0 },
      };
    };
    const refused = (tokens: number, nowMs: number) =>
      refusal(level(tokens), limits, { tokens: 100, leastTokens: 10 }, nowMs) !== null;
    const aheadTokens = { allotted: 500 * 50, running: 200 * 50 };
    expect(refused(aheadTokens.allotted + 99, 0)).toBe(true);
    expect(refused(aheadTokens.allotted + 100, 0)).toBe(false);
    expect(refused(aheadTokens.running + 99, LEASE_TTL_MS)).toBe(true);
    expect(refused(aheadTokens.running + 100, LEASE_TTL_MS)).toBe(false);
    expect(refused(99, PACE_AHEAD_MAX_MS)).toBe(true);
    expect(refused(100, PACE_AHEAD_MAX_MS)).toBe(false);
  });
});

describe("gauges that say anything at all", () => {
  const gauge = fc.nat(1_000_000);
  const pace = fc.record({ tokensPerSecond: gauge, streams: fc.nat(1_000), meanTokens: gauge });
  const step = fc.record({
    at: fc.nat(2),
    pace,
    heldTokens: gauge,
    told: fc.option(gauge),
    uses: fc.nat(3_000),
    wants: fc.nat(5_000),
    passMs: fc.nat(15_000),
    late: fc.boolean(),
  });

  it("never grant more than there is: level and leases stay within the bucket (I2, I5)", () => {
    const limits = { tokensPerMinute: 6_000 };
    fc.assert(
      fc.property(fc.array(step, { maxLength: 40 }), (steps) => {
        let account = newAccount("tenant", limits, 0);
        const leases = new Map<string, Lease>();
        const held = ["weur", "apac", "sam"].map(() => holder.newLease("tenant", 0));
        let nowMs = 0;
        let spent = 0;
        for (const { at, heldTokens, late, pace, passMs, told, uses, wants } of steps) {
          nowMs += passMs;
          const name = ["weur", "apac", "sam"][at]!;
          let mine = holder.leaseTime(held[at]!, nowMs);
          const drawn = holder.isLive(mine, nowMs) ? Math.min(uses, holder.free(mine).tokens) : 0;
          mine = holder.leaseSettle(mine, drawn, 0);
          spent += drawn;
          const renewed = holder.renewal(mine, name, { ...NONE, tokens: wants });
          const message = { ...renewed.message, pace, heldTokens };
          const all = [...leases.values()];
          const sharing = { account, leases: all, limits, message, homeRequests: 1, homeShortMs: nowMs };
          const answer = renew(account, limits, leases.get(name), message, shareOf(sharing, nowMs), nowMs);
          account = answer.account;
          leases.set(name, answer.lease);
          const terms = { ...answer.terms, ratePerMinute: told, meanTokens: heldTokens };
          held[at] = late ? renewed.account : holder.takeTerms(renewed.account, terms, nowMs, nowMs);
          expect(account.leased).toEqual(leasedOut([...leases.values()]));
          const level = account.tokens.levelUnits / 60_000;
          expect(level + account.leased.tokens).toBeLessThanOrEqual(limits.tokensPerMinute);
          expect(spent).toBeLessThanOrEqual(limits.tokensPerMinute * (1 + nowMs / 60_000));
        }
      }),
    );
  });
});
