import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { Deadlines } from "../../../src/routing/pool/deadlines.ts";

const step = fc.record({ id: fc.nat(9).map(String), atMs: fc.nat(20), leaves: fc.boolean() });

describe("deadlines", () => {
  it("agree with a sorted list, whoever leaves early or is given another time", () => {
    fc.assert(
      fc.property(fc.array(step, { maxLength: 120 }), fc.nat(20), (steps, nowMs) => {
        const deadlines = new Deadlines();
        const model = new Map<string, number>();
        for (const { id, atMs, leaves } of steps) {
          if (leaves) {
            deadlines.delete(id);
            model.delete(id);
          } else {
            deadlines.set(id, atMs);
            model.delete(id);
            model.set(id, atMs);
          }
          expect(deadlines.nextMs()).toBe(Math.min(Infinity, ...model.values()));
        }
        const due = [...model].filter(([, atMs]) => atMs <= nowMs).sort(([, a], [, b]) => a - b);
        for (const [id] of due) expect(deadlines.takeDue(nowMs)).toBe(id);
        expect(deadlines.takeDue(nowMs)).toBeNull();
      }),
    );
  });
});
