import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { POLICIES } from "../../../src/routing/messages.ts";
import { policyOf } from "../../../src/routing/policy/policies.ts";
import type { Choice } from "../../../src/routing/policy/policy.ts";
import { chain, work } from "./rig.ts";

function choice(id: string, more: Partial<Choice> = {}): Choice {
  return {
    ...{ id, aheadTokens: 0, cachedTokens: 0, uncachedTokens: 1_000, requests: 0, limit: 100, share: 1 },
    ...{ tokensPerMs: 10, kvCacheUsage: 0, indexTokens: 0 },
    ...more,
  };
}

const loads = fc.array(fc.nat(50), { minLength: 1, maxLength: 32 });
const some = fc.record({ loads, text: fc.nat(1_000), blocks: fc.nat(20), session: fc.option(fc.string()) });

describe("every policy", () => {
  it.each(POLICIES)("chooses one of the choices, the same of the same (%s)", (name) => {
    const [policy, again] = [policyOf(name), policyOf(name)];
    fc.assert(
      fc.property(some, ({ loads: requests, text, blocks, session }) => {
        const choices = requests.map((count, at) =>
          choice(`r${at}`, { requests: count, aheadTokens: count * 100 }),
        );
        const chosen = policy(choices, work({ blocks: chain(text, blocks), session }));
        expect(chosen).toBeGreaterThanOrEqual(0);
        expect(chosen).toBeLessThan(choices.length);
        expect(again(choices, work({ blocks: chain(text, blocks), session }))).toBe(chosen);
      }),
    );
  });
});

describe("predicted time to first token", () => {
  const policy = policyOf("predicted-ttft");
  it("weighs three tokens of wait against one to compute, eight near saturation", () => {
    const cached = { cachedTokens: 900, uncachedTokens: 100 };
    const busy = (aheadTokens: number) => [choice("a", { ...cached, aheadTokens }), choice("b")];
    expect(policy(busy(2_600), work())).toBe(0);
    expect(policy(busy(2_800), work())).toBe(1);
    const saturated = (more: number) => [
      choice("a", { ...cached, aheadTokens: 50_000 + more }),
      choice("b", { aheadTokens: 50_000 }),
    ];
    expect(policy(saturated(7_100), work())).toBe(0);
    expect(policy(saturated(7_300), work())).toBe(1);
  });

  it("gives a replica that comes back from a failure its share", () => {
    expect(policy([choice("a", { share: 0.1 }), choice("b", { aheadTokens: 10_000 })], work())).toBe(1);
  });
});

describe("consistent hashing with bounded loads", () => {
  const policy = policyOf("chwbl");

  it("never goes above its bound while any replica is below it", () => {
    fc.assert(
      fc.property(loads, fc.nat(1_000), (requests, text) => {
        const choices = requests.map((count, at) => choice(`r${at}`, { requests: count }));
        const chosen = choices[policy(choices, work({ blocks: chain(text, 20) }))]!;
        const total = requests.reduce((sum, count) => sum + count, 0);
        const bound = Math.max(2, Math.ceil((1.25 * (total + 1)) / choices.length));
        expect(chosen.requests + 1).toBeLessThanOrEqual(bound);
      }),
    );
  });

  it("keeps prompts with the same start together, and spreads others, past what all share", () => {
    const choices = Array.from({ length: 8 }, (_, at) => choice(`r${at}`, { cachedTokens: 2_560 }));
    const shared = chain(7, 20);
    const chosen = (text: number, length: number) =>
      policy(choices, work({ blocks: [...shared, ...chain(text, length)] }));
    const homes = Array.from({ length: 200 }, (_, text) => chosen(text, 5));
    for (const [text, home] of homes.entries()) expect(chosen(text, 30)).toBe(home);
    for (let at = 0; at < 8; at++) expect(homes.filter((home) => home === at).length).toBeGreaterThan(8);
  });

  it("moves only its own prompts when a replica goes", () => {
    const all = Array.from({ length: 8 }, (_, at) => choice(`r${at}`));
    const less = all.slice(0, 7);
    for (let text = 0; text < 200; text++) {
      const [before, after] = [all, less].map((choices) => {
        return choices[policy(choices, work({ blocks: chain(text, 20) }))]!.id;
      });
      if (before !== "r7") expect(after).toBe(before);
    }
  });
});

describe("sessions", () => {
  const policy = policyOf("session");
  it("stay at their replica until it is overloaded by the mean", () => {
    const at = (requests: number) =>
      ["a", "b", "c", "d"].map((id, index) => choice(id, { requests: index === home ? requests : 0 }));
    let home = -1;
    home = policy(at(0), work({ session: "s" }));
    for (const requests of [0, 1]) expect(policy(at(requests), work({ session: "s" }))).toBe(home);
    expect(policy(at(40), work({ session: "s" }))).not.toBe(home);
  });
});
