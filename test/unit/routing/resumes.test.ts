import { describe, expect, it } from "vitest";
import { RESUME_WINDOW_MS } from "../../../src/bounds.ts";
import { ResumeWindow } from "../../../src/routing/resumes.ts";

describe("streams that are carried on", () => {
  it("begin at a quarter of the capacity per window, and at one at least", () => {
    for (const [capacity, most] of [
      [128, 32],
      [2, 1],
    ] as const) {
      const window = new ResumeWindow();
      let begun = 0;
      while (!window.full(capacity, 1_000)) {
        window.count(1_000);
        begun += 1;
      }
      expect(begun).toBe(most);
      expect(window.full(capacity, 1_000 + RESUME_WINDOW_MS - 1)).toBe(true);
      expect(window.full(capacity, 1_000 + RESUME_WINDOW_MS)).toBe(false);
    }
  });
});
