import { expect, test } from "vitest";
import { conversations, pooledShare, promptOf } from "../../../bench/stack/prompts.ts";
import type { TraceLine } from "../../../sim/fleet/trace.ts";
import { encode } from "../../../sim/origin/model/tokenizer.ts";
import { promptParts } from "../../../src/engine/prompt-parts.ts";
import { blocksOf } from "../../../src/routing/blocks.ts";

/** Texts that stand for a trace's blocks: what is equal there is equal here, to the edge and to the engine. */

function line(blocks: readonly number[], atMs = 0): TraceLine {
  return { atMs, blocks, promptTokens: blocks.length * 512, outputTokens: 160 };
}

function named(blocks: readonly number[], world = "One."): number[] {
  const { messages } = promptOf(line(blocks), world);
  return blocksOf(promptParts("chat", { messages: messages.map((one) => ({ ...one })) }), "salt").blocks;
}

function shared(one: readonly number[], other: readonly number[]): number {
  const differs = one.findIndex((name, at) => name !== other[at]);
  return differs < 0 ? one.length : differs;
}

test("the edge names as much in common as the trace's prompts share, to a block", () => {
  const long = Array.from({ length: 20 }, (_, at) => at + 1);
  for (const kept of [1, 4, 5, 13]) {
    const other = [...long.slice(0, kept), ...long.slice(kept).map((block) => block + 1_000)];
    const part = shared(named(long), named(other)) / named(long).length;
    expect(Math.abs(part - kept / 20)).toBeLessThan(0.08);
  }
});

test("a later turn has all of the one before but its last message, and another world has nothing", () => {
  const before = named([1, 2, 3, 4, 5, 6]);
  const after = named([1, 2, 3, 4, 5, 6, 7, 8, 9]);
  expect(shared(before, after)).toBeGreaterThanOrEqual(before.length - 1);
  expect(shared(before, named([1, 2, 3, 4, 5, 6], "Two."))).toBe(0);
});

test("a block has a quarter of its tokens", () => {
  const { messages } = promptOf(line([1, 2, 3, 4, 5]), "One.");
  const tokens = messages.reduce((sum, { content }) => sum + encode(content).length, 0);
  expect(Math.abs(tokens / (5 * 128) - 1)).toBeLessThan(0.15);
});

test("played are conversations with a second turn, and what they could share is known", () => {
  const lines = [line([1, 2]), line([1, 9]), line([1, 2, 3], 1), line([7], 2)];
  const played = conversations(lines);
  expect(played).toEqual([lines[0], lines[2]]);
  // Of five blocks, two come again.
  expect(pooledShare(played, Infinity)).toBeCloseTo(2 / 5, 2);
});
