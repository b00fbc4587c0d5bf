import { describe, expect, test } from "vitest";
import { due, type Watch } from "../../../src/gate/watch.ts";

const watch = (changes: Partial<Watch> = {}): Watch => ({
  startedAtMs: 1_000,
  deadlineAtMs: 61_000,
  bridgeAtMs: 31_000,
  firstTokenTimeoutMs: 10_000,
  tokenGapTimeoutMs: 5_000,
  firstTokenAtMs: null,
  lastTokenAtMs: 1_000,
  slowAtMs: null,
  paused: false,
  ...changes,
});

describe("what is due", () => {
  test.each<[string, Partial<Watch>, number, ReturnType<typeof due>]>([
    ["sleeps until the first token's timeout", {}, 2_000, { tag: "wait", ms: 9_000 }],
    ["becomes slow before it is given up", { slowAtMs: 11_000 }, 11_000, { tag: "slow" }],
    ["sleeps until it becomes slow", { slowAtMs: 5_000 }, 2_000, { tag: "wait", ms: 3_000 }],
    ["is slow at its deadline, too", { slowAtMs: 61_000 }, 61_000, { tag: "slow" }],
    ["gives up without a first token", {}, 11_000, { tag: "first_token_timeout" }],
    [
      "an answer in one piece has no first token",
      { firstTokenTimeoutMs: null },
      11_000,
      { tag: "wait", ms: 20_000 },
    ],
    ["shows a sign of life", { firstTokenTimeoutMs: 50_000 }, 31_000, { tag: "bridge" }],
    [
      "no more signs of life are needed",
      { firstTokenTimeoutMs: null, bridgeAtMs: null },
      31_000,
      { tag: "wait", ms: 30_000 },
    ],
    [
      "after the first token, sleeps until the gap",
      { firstTokenAtMs: 2_000, lastTokenAtMs: 9_000 },
      10_000,
      { tag: "wait", ms: 4_000 },
    ],
    [
      "gives up in the gap",
      { firstTokenAtMs: 2_000, lastTokenAtMs: 9_000 },
      14_000,
      { tag: "token_gap_timeout" },
    ],
    [
      "an edge that does not read is no gap",
      { firstTokenAtMs: 2_000, paused: true },
      14_000,
      { tag: "wait", ms: 17_000 },
    ],
    ["the deadline comes before all else", {}, 61_000, { tag: "deadline" }],
  ])("%s", (_name, changes, nowMs, expected) => {
    expect(due(watch(changes), nowMs)).toEqual(expected);
  });

  test("who sleeps as long as it says, finds something due", () => {
    for (const changes of [
      {},
      { firstTokenAtMs: 1_500 },
      { firstTokenTimeoutMs: null },
      { bridgeAtMs: null },
    ]) {
      const next = due(watch(changes), 1_500);
      if (next.tag !== "wait") throw new Error("nothing to wait for");
      expect(due(watch(changes), 1_500 + next.ms).tag).not.toBe("wait");
    }
  });
});
