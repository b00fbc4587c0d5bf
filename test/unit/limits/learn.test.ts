import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { CountedPrompt, PromptBasis, TextClass } from "../../../src/contract/prompt-basis.ts";
import type { Call } from "../../../src/engine/endpoint.ts";
import { COLD, estimatePromptTokens, promptBasis, TOKENS_PER_CHAR } from "../../../src/limits/estimate.ts";
import { FACTOR_RANGE, FRAME_RANGE, learned, pooled } from "../../../src/limits/learn.ts";
import type { Learned } from "../../../src/limits/messages.ts";

const CLASSES: readonly TextClass[] = ["prose", "code", "cjk", "other"];

/** Even numbers in [0, 1), the same for the same seed (mulberry32). */
function uniform(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** Log-normal factors around `median`. */
function factors(seed: number, median: number, sigma: number): () => number {
  const even = uniform(seed);
  return () => {
    const normal = Math.sqrt(-2 * Math.log(1 - even())) * Math.cos(2 * Math.PI * even());
    return median * Math.exp(sigma * normal);
  };
}

function counted(promptTokens: number, basis: Partial<PromptBasis> = {}): CountedPrompt {
  return {
    requestId: "r",
    promptTokens,
    basis: { textClass: "prose", textTokens: 1_000, fixedTokens: 0, templated: false, ...basis },
  };
}

function taught(known: Learned, prompts: number, next: () => CountedPrompt): Learned {
  let after = known;
  for (let index = 0; index < prompts; index++) after = learned(after, next());
  return after;
}

/** The mean of the factor for prose over 3,000 prompts, after 1,500 that are only learned from. */
function rest(next: () => CountedPrompt): number {
  let known = taught(COLD, 1_500, next);
  let mean = 0;
  for (let index = 0; index < 3_000; index++) {
    known = learned(known, next());
    mean += known.prose.value / 3_000;
  }
  return mean;
}

const basis: fc.Arbitrary<PromptBasis> = fc.record({
  textClass: fc.constantFrom(...CLASSES),
  textTokens: fc.nat(100_000),
  fixedTokens: fc.nat(20_000),
  templated: fc.boolean(),
});
const anyPrompt: fc.Arbitrary<CountedPrompt> = fc.record({
  requestId: fc.constant("r"),
  basis,
  promptTokens: fc.oneof(fc.nat(1_000), fc.nat(), fc.constant(Number.MAX_SAFE_INTEGER)),
});

describe("an estimate", () => {
  const call = (measure: object, more: object = {}): Call =>
    ({
      endpoint: "completions",
      measure: { proseChars: 0, codeChars: 0, cjkChars: 0, otherChars: 0, ...measure },
      fixedTokens: 0,
      ...more,
    }) as Call;

  it("starts from constants per class of text, on the high side", () => {
    expect(TOKENS_PER_CHAR).toEqual({ prose: 1 / 3, code: 1 / 3, cjk: 1.3, other: 1.5 });
    const mixed = promptBasis(call({ proseChars: 30, cjkChars: 20, otherChars: 2 }, { fixedTokens: 7 }));
    expect(mixed).toEqual({ textClass: "cjk", textTokens: 39, fixedTokens: 7, templated: false });
    expect(estimatePromptTokens(mixed)).toBe(46);
    expect(promptBasis(call({ codeChars: 9 }, { endpoint: "messages" }))).toMatchObject({
      textClass: "code",
      templated: true,
    });
  });

  it("is never below one, and never less for more text", () => {
    fc.assert(
      fc.property(fc.array(anyPrompt, { maxLength: 40 }), basis, fc.nat(1_000), (prompts, one, more) => {
        const known = prompts.reduce(learned, COLD);
        const tokens = estimatePromptTokens(one, known);
        expect(tokens).toBeGreaterThanOrEqual(1);
        expect(Number.isSafeInteger(tokens)).toBe(true);
        const longer = { ...one, textTokens: one.textTokens + more };
        expect(estimatePromptTokens(longer, known)).toBeGreaterThanOrEqual(tokens);
      }),
    );
  });
});

describe("learning", () => {
  it("comes to rest at the 95th percentile of what engines count", () => {
    const spread = fc.double({ min: 0.02, max: 0.25, noNaN: true });
    const median = fc.double({ min: 0.5, max: 0.9, noNaN: true });
    fc.assert(
      fc.property(fc.nat(), median, spread, (seed, middle, sigma) => {
        const next = factors(seed, middle, sigma);
        const prompt = () => counted(Math.round(next() * 1_000));
        let known = taught(COLD, 1_500, prompt);
        let covered = 0;
        let mean = 0;
        for (let index = 0; index < 3_000; index++) {
          const one = prompt();
          covered += one.promptTokens <= estimatePromptTokens(one.basis, known) ? 1 : 0;
          known = learned(known, one);
          mean += known.prose.value / 3_000;
        }
        expect(covered / 3_000).toBeGreaterThan(0.93);
        expect(covered / 3_000).toBeLessThan(0.97);
        const truth = middle * Math.exp(1.645 * sigma);
        expect(mean / truth).toBeGreaterThan(0.9);
        expect(mean / truth).toBeLessThan(1.1);
      }),
      { numRuns: 60 },
    );
  });

  it("keeps classes apart", () => {
    const known = taught(COLD, 400, () => counted(700, { textClass: "cjk" }));
    expect(known.cjk.value).toBeLessThan(0.8);
    expect({ ...known, cjk: COLD.cjk }).toEqual(COLD);
  });

  it("learns from short chats what the template adds, so that the next is estimated right", () => {
    const short = { textTokens: 4, fixedTokens: 7, templated: true };
    const known = taught(COLD, 200, () => counted(4 + 7 + 30, short));
    const tokens = estimatePromptTokens({ ...counted(0, short).basis }, known);
    expect(tokens).toBeGreaterThanOrEqual(4 + 7 + 28);
    expect(tokens).toBeLessThanOrEqual(4 + 7 + 33);
    // Long texts are not blamed for it.
    const long = taught(known, 200, () => counted(500 + 7 + 30, { textTokens: 500, templated: true }));
    expect(long.prose.value).toBeGreaterThan(0.97);
    expect(long.prose.value).toBeLessThan(1.04);
  });

  it("learns nothing from images, from in-between lengths, and from no count", () => {
    const nothing = [
      counted(3_000, { textTokens: 60, fixedTokens: 4_096 }),
      counted(3_000, { textTokens: 4, fixedTokens: 4_096, templated: true }),
      counted(60, { textTokens: 30, templated: true }),
      counted(9, { textTokens: 4 }),
      counted(0),
    ];
    expect(nothing.reduce(learned, COLD)).toEqual(COLD);
  });

  it("stays in its ranges whatever is reported", () => {
    fc.assert(
      fc.property(fc.array(anyPrompt, { maxLength: 300 }), (prompts) => {
        const known = prompts.reduce(learned, COLD);
        for (const name of CLASSES) {
          expect(known[name].value).toBeGreaterThanOrEqual(FACTOR_RANGE[name].least);
          expect(known[name].value).toBeLessThanOrEqual(FACTOR_RANGE[name].most);
        }
        expect(known.frame.value).toBeGreaterThanOrEqual(FRAME_RANGE.least);
        expect(known.frame.value).toBeLessThanOrEqual(FRAME_RANGE.most);
      }),
    );
  });

  it("is moved by one report by no more than one step: 27 % at first, 2 % with experience", () => {
    fc.assert(
      fc.property(anyPrompt, fc.nat(1_000), (lie, experience) => {
        const before = taught(COLD, experience, () => counted(800, { textClass: lie.basis.textClass }));
        const after = learned(before, lie);
        const bound = experience >= 300 ? 1.0192 : 1.27;
        for (const name of CLASSES) {
          const moved = after[name].value / before[name].value;
          expect(Math.max(moved, 1 / moved)).toBeLessThanOrEqual(bound);
        }
        expect(Math.abs(after.frame.value - before.frame.value)).toBeLessThanOrEqual(15.2);
      }),
    );
  });

  it("holds against liars: few cannot push it above honest prompts, half of all cannot pull it below", () => {
    fc.assert(
      fc.property(fc.nat(), (seed) => {
        const chance = uniform(seed ^ 0x5bd1e995);
        const honest = factors(seed, 0.7, 0.1);
        const mixed = (share: number, lie: number) => () =>
          counted(chance() < share ? lie : Math.round(honest() * 1_000));
        expect(rest(mixed(0.03, 10_000_000))).toBeLessThan(0.7 * Math.exp(3 * 0.1));
        expect(rest(mixed(0.5, 1))).toBeGreaterThan(0.7 * Math.exp(1 * 0.1));
      }),
      { numRuns: 40 },
    );
  });
});

describe("several pools", () => {
  const prose = (value: number, count: number): Learned => ({ ...COLD, prose: { value, count } });

  it("count by experience, and one that knows nothing counts for nothing", () => {
    expect(pooled([])).toEqual(COLD);
    expect(pooled([prose(0.7, 5)])).toEqual(prose(0.7, 5));
    expect(pooled([prose(0.7, 100), COLD]).prose.value).toBeCloseTo(0.7);
    expect(pooled([prose(0.6, 100), prose(0.8, 300)]).prose.value).toBeCloseTo(0.75);
    expect(pooled([prose(0.6, 300), prose(0.8, 900_000)]).prose.value).toBeCloseTo(0.7);
    expect(pooled([COLD, COLD]).cjk).toEqual(COLD.cjk);
  });
});
