import { describe, expect, it } from "vitest";
import { CACHE_READ_TIMEOUT_MS, REDIS_SKIP_MS } from "../../../src/bounds.ts";
import { KeptAnswers } from "../../../src/upstash/answers.ts";

const NOW_MS = 1_000_000;
const background = { waitUntil: () => undefined };

/** A Redis of one map; while `down`, it never answers. */
function store() {
  const kept = new Map<string, { text: string; px: number }>();
  const state = { kept, down: false, asked: 0 };
  const redis = {
    get: async (key: string) => {
      state.asked += 1;
      if (state.down) return new Promise(() => undefined);
      return kept.get(key)?.text ?? null;
    },
    set: async (key: string, text: string, { px }: { px: number }) => {
      kept.set(key, { text, px });
      return "OK";
    },
  };
  return {
    state,
    answers: new KeptAnswers(redis as unknown as ConstructorParameters<typeof KeptAnswers>[0]),
  };
}

describe("answers kept in Redis", () => {
  it("come back under their key, and end by themselves", async () => {
    const { state, answers } = store();
    await answers.keep("k", "text", 1_500.2, NOW_MS);
    expect(await answers.find("k", NOW_MS, background)).toBe("text");
    expect(await answers.find("other", NOW_MS, background)).toBeNull();
    expect([...state.kept.values()]).toEqual([{ text: "text", px: 1_501 }]);
  });

  it("a Redis that hangs costs one short wait, and none after it", async () => {
    const { state, answers } = store();
    state.down = true;
    const fromMs = performance.now();
    expect(await answers.find("k", NOW_MS, background)).toBeNull();
    expect(performance.now() - fromMs).toBeLessThan(CACHE_READ_TIMEOUT_MS * 10);
    expect(await answers.find("k", NOW_MS + 1, background)).toBeNull();
    expect(state.asked).toBe(1);
    state.down = false;
    await answers.keep("k", "text", 1_000, NOW_MS + REDIS_SKIP_MS);
    expect(await answers.find("k", NOW_MS + REDIS_SKIP_MS + 1, background)).toBe("text");
  });
});
