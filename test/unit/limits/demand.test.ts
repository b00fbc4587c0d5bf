import { describe, expect, it } from "vitest";
import {
  type Demand,
  demanded,
  earnsLease,
  extended,
  NO_DEMAND,
  wanted,
} from "../../../src/limits/demand.ts";
import { NONE } from "../../../src/limits/lease.ts";

/** `perSecond` requests of 300 tokens, evenly, for some seconds. */
function steady(perSecond: number, seconds: number): { demand: Demand; nowMs: number } {
  let demand = NO_DEMAND;
  let nowMs = 1_000_000;
  for (let index = 0; index < perSecond * seconds; index += 1) {
    nowMs += 1_000 / perSecond;
    demand = demanded(demand, 300, nowMs);
  }
  return { demand, nowMs };
}

describe("demand", () => {
  it("earns a lease when it is sustained, and not by a few requests at once", () => {
    const { demand, nowMs } = steady(2, 10);
    expect(earnsLease(demand, nowMs)).toBe(true);
    const burst = [1, 2, 3].reduce((sum) => demanded(sum, 300, 0), NO_DEMAND);
    expect(earnsLease(burst, 0)).toBe(false);
    expect(earnsLease(demand, nowMs + 20_000)).toBe(false);
  });

  it("wants about what one time to live will take, in whole numbers", () => {
    const { demand, nowMs } = steady(10, 60);
    const { tokens, requests, slots } = wanted(demand, nowMs);
    expect(tokens / (10 * 300 * 10)).toBeCloseTo(1, 0);
    expect(requests / 100).toBeCloseTo(1, 0);
    for (const one of [tokens, requests, slots]) expect(Number.isInteger(one)).toBe(true);
  });

  it("wants at least the largest single request lately, and nothing when idle", () => {
    const { demand, nowMs } = steady(1, 5);
    const large = demanded(demand, 50_000, nowMs);
    expect(wanted(large, nowMs).tokens).toBeGreaterThanOrEqual(50_000);
    expect(wanted(large, nowMs + 60_000)).toEqual(NONE);
  });

  it("wants tokens alone for streams that run on when no request comes", () => {
    let demand = NO_DEMAND;
    for (let second = 1; second <= 60; second += 1) demand = extended(demand, 20, second * 1_000);
    const want = wanted(demand, 60_000);
    expect(want).toMatchObject({ requests: 0, slots: 0 });
    expect(want.tokens / 200).toBeCloseTo(1, 0);
    expect(earnsLease(demand, 60_000)).toBe(false);
  });
});
