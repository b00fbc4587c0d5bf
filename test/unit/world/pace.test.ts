import { describe, expect, it } from "vitest";
import { PROTOCOL, type Protocol } from "../../../sim/world/protocol.ts";
import type { Load } from "../../../sim/world/schedule.ts";
import { saturated } from "../../../sim/world/steady.ts";
import { NO_PACE, NOTHING_ELSEWHERE } from "../../../src/limits/pace.ts";

/** Streams of two minutes, three times as many as the rate can feed, at the home and at two other places. */
const STREAM: Load = {
  requests: 0,
  gapMs: 0,
  promptTokens: 100,
  missedTokens: 0,
  outputTokens: 2_400,
  tokensPerSecond: 20,
};

function measured(protocol: Protocol, places = [0, 1, 2]): { used: number; overrun: number } {
  const times = { warmUpSeconds: 240, measuredSeconds: 480 };
  return saturated({
    ...{ seed: 7, tokensPerMinute: 240_000, places, stream: STREAM, excess: 3, protocol },
    ...times,
  });
}

const { renew, shareOf, takeTerms } = PROTOCOL;

/** No bound breaks where the rate is divided wrongly; streams run into debt, or the rate lies idle. */
const WRONG: Readonly<Record<string, Partial<Protocol>>> = {
  "no holder is told its part": {
    takeTerms: (lease, terms, sentAtMs, nowMs) =>
      takeTerms(lease, { ...terms, ratePerMinute: null }, sentAtMs, nowMs),
  },
  "every holder is told the whole rate": {
    shareOf: (sharing, nowMs) => {
      const share = shareOf(sharing, nowMs);
      const ratePerMinute = sharing.limits?.tokensPerMinute ?? null;
      return { ...share, allotment: { ...share.allotment, ratePerMinute } };
    },
  },
  "the home forgets what leases use": {
    renew: (account, limits, known, message, share, nowMs) => {
      const renewed = renew(account, limits, known, message, share, nowMs);
      return { ...renewed, account: { ...renewed.account, elsewhere: NOTHING_ELSEWHERE } };
    },
  },
  "no holder reports its pace": {
    renew: (account, limits, known, message, share, nowMs) =>
      renew(account, limits, known, { ...message, pace: NO_PACE, heldTokens: 0 }, share, nowMs),
  },
  "who is short is granted no more than an equal part of what others hold": {
    shareOf: (sharing, nowMs) => {
      const leases = sharing.leases.map((lease) => ({ ...lease, heldTokens: 0, pace: NO_PACE }));
      const { account } = sharing;
      const message = { ...sharing.message, heldTokens: 0, pace: NO_PACE };
      const blind = { ...sharing, account: { ...account, pace: NO_PACE }, leases, message };
      return { ...shareOf(blind, nowMs), allotment: shareOf(sharing, nowMs).allotment };
    },
  },
};

/** Eight minutes begin and end in any phase of admission: at home alone, 96 % of the rate are used in them. */
function isGood({ overrun, used }: { used: number; overrun: number }): boolean {
  return overrun < 0.005 && used > 0.9;
}

describe("a saturated tenant of several locations", () => {
  it.each([[[0, 1, 2]], [[1]], [[1, 2]]])("uses its rate and runs into no debt: %j", (places) => {
    const all = measured(PROTOCOL, places);
    expect(isGood(all), JSON.stringify(all)).toBe(true);
  });

  it.each(Object.keys(WRONG))("does not where %s", (name) => {
    const all = measured({ ...PROTOCOL, ...WRONG[name] });
    expect(isGood(all), JSON.stringify(all)).toBe(false);
  });
});
