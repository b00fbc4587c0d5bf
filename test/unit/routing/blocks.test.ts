import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { PREFIX_BLOCK_CHARS, PREFIX_BLOCKS_MAX } from "../../../src/bounds.ts";
import { blocksOf } from "../../../src/routing/blocks.ts";

const text = fc.string({ unit: "binary", maxLength: 3 * PREFIX_BLOCK_CHARS });
const parts = fc.array(text, { maxLength: 5 });

describe("names of prefix blocks", () => {
  it("are as many of two prompts alike as whole blocks of leading text", () => {
    fc.assert(
      fc.property(parts, parts, parts, (shared, one, other) => {
        const [a, b] = [blocksOf([...shared, ...one], "s"), blocksOf([...shared, ...other], "s")];
        const { chars, blocks } = blocksOf(shared, "s");
        expect(blocks.length).toBe(Math.floor(chars / PREFIX_BLOCK_CHARS));
        expect(a.blocks.slice(0, blocks.length)).toEqual(blocks);
        expect(b.blocks.slice(0, blocks.length)).toEqual(blocks);
      }),
    );
  });

  it("differ from the first changed block to the end", () => {
    const long = "x".repeat(10 * PREFIX_BLOCK_CHARS);
    fc.assert(
      fc.property(fc.nat(long.length - 1), (at) => {
        const changed = `${long.slice(0, at)}y${long.slice(at + 1)}`;
        const [a, b] = [blocksOf([long], "s").blocks, blocksOf([changed], "s").blocks];
        const same = Math.floor(at / PREFIX_BLOCK_CHARS);
        expect(b.slice(0, same)).toEqual(a.slice(0, same));
        for (let block = same; block < a.length; block++) expect(b).not.toContain(a[block]);
      }),
    );
  });

  it("are disjoint under different salts", () => {
    fc.assert(
      fc.property(parts, text, text, (prompt, one, other) => {
        fc.pre(one !== other);
        const [a, b] = [blocksOf(prompt, one).blocks, new Set(blocksOf(prompt, other).blocks)];
        expect(a.filter((name) => b.has(name))).toEqual([]);
      }),
    );
  });

  it("tell a prompt from one whose messages are cut elsewhere", () => {
    const half = "a".repeat(PREFIX_BLOCK_CHARS);
    expect(blocksOf([`${half}b`, half], "s").blocks[1]).not.toBe(blocksOf([half, `b${half}`], "s").blocks[1]);
  });

  it("are bounded, whole numbers, spread over 53 bits, and unlike each other", () => {
    const { blocks, chars } = blocksOf(["z".repeat((PREFIX_BLOCKS_MAX + 10) * PREFIX_BLOCK_CHARS)], "s");
    expect(blocks).toHaveLength(PREFIX_BLOCKS_MAX);
    expect(chars).toBe((PREFIX_BLOCKS_MAX + 10) * PREFIX_BLOCK_CHARS + 1);
    expect(new Set(blocks).size).toBe(PREFIX_BLOCKS_MAX);
    for (const name of blocks) expect(Number.isSafeInteger(name) && name >= 0).toBe(true);
    for (let bit = 0; bit < 53; bit++) {
      const ones = blocks.filter((name) => Math.floor(name / 2 ** bit) % 2 === 1).length;
      expect(ones, `bit ${bit}`).toBeGreaterThan(PREFIX_BLOCKS_MAX * 0.35);
      expect(ones, `bit ${bit}`).toBeLessThan(PREFIX_BLOCKS_MAX * 0.65);
    }
  });
});
