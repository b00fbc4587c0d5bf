import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { PREFIX_INDEX_BLOCKS_MAX } from "../../../src/bounds.ts";
import { PrefixIndex } from "../../../src/routing/pool/prefix-index.ts";
import { chain } from "./rig.ts";

/** Chains that share a start with the others of the same `root`. */
const prompt = fc
  .record({ root: fc.nat(3), own: fc.nat(40), shared: fc.nat(6), length: fc.nat(12) })
  .map(({ root, own, shared, length }) => [
    ...chain(root, shared),
    ...chain(100 + root * 1_000 + own * 10 + shared, length),
  ]);

describe("the prefix index", () => {
  it("holds no more tokens than its bound, and of every chain a prefix", () => {
    fc.assert(
      fc.property(fc.array(prompt, { maxLength: 60 }), fc.integer({ min: 1, max: 60 }), (prompts, blocks) => {
        const index = new PrefixIndex();
        index.sized(blocks * 128);
        for (const [at, one] of prompts.entries()) {
          index.learn(one, 128);
          expect(index.tokens).toBeLessThanOrEqual(index.boundTokens);
          expect(index.tokens).toBe(index.size * 128);
          for (const earlier of prompts.slice(0, at + 1)) {
            const hits = index.hits(earlier);
            const alone = earlier.map((block) => index.hits([block]) === 1);
            expect(alone).toEqual(earlier.map((_, block) => block < hits));
          }
        }
      }),
    );
  });

  it("holds no more blocks than its memory allows, however small they are", () => {
    const index = new PrefixIndex();
    for (let at = 0; at < 200; at++) index.learn(chain(at, 512), 1);
    expect(index.size).toBe(PREFIX_INDEX_BLOCKS_MAX);
  });

  it("forgets what was used least recently", () => {
    const index = new PrefixIndex();
    index.sized(2_000);
    index.learn(chain(1, 8), 100);
    index.learn(chain(2, 8), 100);
    index.learn(chain(1, 8), 100);
    index.learn(chain(3, 8), 100);
    expect([1, 2, 3].map((text) => index.hits(chain(text, 8)))).toEqual([8, 2, 8]);
  });

  it("learns a cache's true size from what engines find, gently and within limits", () => {
    const index = new PrefixIndex();
    index.sized(100_000);
    const start = index.boundTokens;
    index.corrected(1_000, 0, 1_000);
    expect(index.boundTokens / start).toBeCloseTo(0.98);
    for (let at = 0; at < 1_000; at++) index.corrected(1_000, 0, 1_000);
    expect(index.boundTokens).toBe(50_000);
    for (let at = 0; at < 1_000; at++) index.corrected(0, 1_000, 1_000);
    expect(index.boundTokens).toBe(100_000);
  });

  it("survives being saved", () => {
    const [index, again] = [new PrefixIndex(), new PrefixIndex()];
    index.learn(chain(1, 50), 128);
    again.load(index.save(1_000));
    expect([again.hits(chain(1, 50)), again.tokens]).toEqual([50, index.tokens]);
    // The youngest blocks are a chain's first: what does not fit is missed at its end.
    again.load(index.save(20));
    expect(again.hits(chain(1, 50))).toBe(20);
  });
});
