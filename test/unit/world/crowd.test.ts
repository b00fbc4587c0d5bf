import { describe, expect, it } from "vitest";
import type { Load } from "../../../sim/world/schedule.ts";
import { calmWorld } from "../../../sim/world/steady.ts";
import { COLD_REQUEST_TOKENS, COLD_REQUESTS_PER_MINUTE } from "../../../src/limits/bounds.ts";

const TOKENS_PER_MINUTE = 24_000;
const STREAM: Load = {
  requests: 1,
  gapMs: 0,
  promptTokens: 30,
  missedTokens: 0,
  outputTokens: 1_500,
  tokensPerSecond: 40,
};

/** Sixty long streams at once on a full bucket: what they use beyond it, and what they use in all. */
function crowd(knownBefore: number): { overrunTokens: number; madeTokens: number } {
  const world = calmWorld({ seed: 3, tokensPerMinute: TOKENS_PER_MINUTE, holders: 1 });
  for (let nth = 0; nth < knownBefore; nth += 1) {
    world.load(0, STREAM);
    world.run(60_000);
  }
  world.run(120_000);
  const before = { made: world.ghost.madeTokens, overrun: world.ghost.overrunTokens };
  world.load(0, { ...STREAM, requests: 60, gapMs: 10 });
  world.run(120_000);
  return {
    overrunTokens: world.ghost.overrunTokens - before.overrun,
    madeTokens: world.ghost.madeTokens - before.made,
  };
}

describe("a crowd of long streams within a second, on a full bucket", () => {
  it("is let in as far as it can be fed, where requests before it have shown what one uses", () => {
    const { madeTokens, overrunTokens } = crowd(3);
    expect(overrunTokens).toBe(0);
    expect(madeTokens).toBeGreaterThan(TOKENS_PER_MINUTE * 0.8);
  });

  it("is guessed at by a tenant none of whose requests has ended: its debt is what they use above the guess", () => {
    const { madeTokens, overrunTokens } = crowd(0);
    expect(overrunTokens).toBeLessThan(
      COLD_REQUESTS_PER_MINUTE * (STREAM.outputTokens - COLD_REQUEST_TOKENS),
    );
    expect(madeTokens).toBeGreaterThan(TOKENS_PER_MINUTE);
  });
});
