import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { type Control, type Model, STEPS, type Step } from "../../../src/catalogue.ts";
import {
  type Circumstances,
  type Move,
  mayServeFresh,
  plan,
  stanceOf,
} from "../../../src/routing/degrade.ts";

const NOW_MS = 1_000_000;

const APPROVABLE = ["cache", "region", "model", "max-tokens"] as const;

const circumstances: fc.Arbitrary<Circumstances> = fc.record({
  model: fc
    .record({
      smallerModel: fc.constant("small"),
      maxTokens: fc.option(fc.integer({ min: 1, max: 100 }), { nil: undefined }),
      needsApproval: fc.subarray([...APPROVABLE]),
    })
    .map(({ maxTokens, ...rest }): Model => {
      const degrade = { ...rest, waitMs: 0, ...(maxTokens === undefined ? {} : { maxTokens }) };
      return { id: "big", kind: "generate", version: 1, createdAtMs: 0, degrade };
    }),
  controls: fc.array(
    fc.record({
      model: fc.constantFrom("big", "other"),
      step: fc.constantFrom(...STEPS),
      mode: fc.constantFrom("force", "forbid", "allow"),
      untilMs: fc.constantFrom(null, NOW_MS - 1, NOW_MS, NOW_MS + 1),
    }) as fc.Arbitrary<Control>,
    { maxLength: 6 },
  ),
  nowMs: fc.constant(NOW_MS),
  kept: fc.boolean(),
  hasSmaller: fc.boolean(),
  generates: fc.boolean(),
  saturated: fc.boolean(),
});

/** The steps that a move takes, beyond asking as the client asked. */
function stepsOf(move: Move): Step[] {
  if (move.kind === "cache") return ["cache"];
  if (move.kind === "propose") return [];
  return [
    ...(move.regions === "best" ? [] : (["region"] as const)),
    ...(move.model === "smaller" ? (["model"] as const) : []),
    ...(move.capped ? (["max-tokens"] as const) : []),
  ];
}

describe("the ladder", () => {
  it("takes no step that is forbidden, or that waits for an approval", () => {
    fc.assert(
      fc.property(circumstances, (given) => {
        for (const step of plan(given).flatMap(stepsOf)) {
          expect(["forced", "allowed"]).toContain(stanceOf(given.model, step, given.controls, NOW_MS));
        }
      }),
      { numRuns: 2_000 },
    );
  });

  it("proposes exactly the steps that wait for an approval and would be a way out", () => {
    fc.assert(
      fc.property(circumstances, (given) => {
        const moves = plan(given);
        const proposed = moves.flatMap((move) => (move.kind === "propose" ? [move.step] : []));
        const { kept, hasSmaller, generates, model } = given;
        const off = moves.every(({ kind }) => kind === "cache");
        const possible = { cache: kept, region: true, model: hasSmaller };
        const wayOut = (step: Step) =>
          step === "max-tokens"
            ? generates && model.degrade?.maxTokens !== undefined
            : possible[step as keyof typeof possible];
        const waiting = APPROVABLE.filter(
          (step) => wayOut(step) && stanceOf(model, step, given.controls, NOW_MS) === "awaits",
        );
        expect([...proposed].sort()).toEqual(off ? [] : [...waiting].sort());
      }),
      { numRuns: 2_000 },
    );
  });

  it("never makes the same move twice, and ends", () => {
    fc.assert(
      fc.property(circumstances, (given) => {
        const moves = plan(given).map((move) => JSON.stringify(move));
        expect(new Set(moves).size).toBe(moves.length);
        expect(moves.length).toBeLessThanOrEqual(5);
      }),
    );
  });

  it("an expired decision decides nothing", () => {
    fc.assert(
      fc.property(circumstances, (given) => {
        const living = given.controls.filter(({ untilMs }) => untilMs === null || untilMs > NOW_MS);
        expect(plan({ ...given, controls: living })).toEqual(plan(given));
      }),
    );
  });
});

const BIG: Model = { id: "big", kind: "generate", version: 1, createdAtMs: 0 };
const GIVEN: Circumstances = {
  model: {
    ...BIG,
    degrade: { smallerModel: "small", maxTokens: 16, waitMs: 0, needsApproval: [] },
  },
  controls: [],
  nowMs: NOW_MS,
  kept: true,
  hasSmaller: true,
  generates: true,
  saturated: false,
};

describe("in order", () => {
  it("another region, the kept answer, the smaller model, fewer tokens", () => {
    expect(plan(GIVEN)).toEqual([
      { kind: "ask", model: "own", regions: "any", capped: false },
      { kind: "cache" },
      { kind: "ask", model: "smaller", regions: "any", capped: false },
      { kind: "ask", model: "own", regions: "any", capped: true },
    ]);
  });

  it("without a policy only the regions are asked", () => {
    expect(plan({ ...GIVEN, model: BIG, kept: false, hasSmaller: false })).toEqual([
      { kind: "ask", model: "own", regions: "any", capped: false },
    ]);
  });

  it("where every region is full, the first answer is shortened already, but not the smaller model's", () => {
    const moves = plan({ ...GIVEN, saturated: true });
    expect(moves[0]).toMatchObject({ model: "own", capped: true });
    expect(moves.filter(({ kind }) => kind === "ask")[1]).toMatchObject({ model: "smaller", capped: false });
  });

  const control = (step: Step, mode: Control["mode"]): Control => {
    return { model: "big", step, mode, untilMs: null };
  };

  it("by hand", () => {
    const forced = (...controls: Control[]) => plan({ ...GIVEN, controls });
    expect(forced(control("refuse", "force"))).toEqual([]);
    expect(forced(control("refuse", "force"), control("cache", "force"))).toEqual([{ kind: "cache" }]);
    expect(forced(control("cache", "force"))[0]).toEqual({ kind: "cache" });
    expect(forced(control("model", "force"))[0]).toMatchObject({ model: "smaller" });
    expect(forced(control("region", "force"))[0]).toMatchObject({ regions: "other" });
    expect(forced(control("region", "forbid"))[0]).toMatchObject({ regions: "best" });
    expect(forced(control("model", "force"), control("model", "forbid"))[0]).toMatchObject({ model: "own" });
    expect(forced(control("model", "allow"))).toEqual(plan(GIVEN));
    const fresh = (...controls: Control[]) => mayServeFresh(BIG, controls, NOW_MS);
    expect([fresh(), fresh(control("cache", "forbid")), fresh(control("refuse", "force"))]).toEqual([
      true,
      false,
      false,
    ]);
    expect(fresh(control("cache", "force"), control("refuse", "force"))).toBe(true);
  });
});
