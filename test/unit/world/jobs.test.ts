import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { Hunt } from "../../../sim/world/hunt.ts";
import { defaultJobs, firstFailureOf, JOBS_MAX, jobsFrom } from "../../../sim/world/jobs.ts";
import { MUTANTS } from "../../../sim/world/mutants.ts";
import { Progress } from "../../../sim/world/progress.ts";
import { firstFailure } from "../../../sim/world/search.ts";

const seeds = {
  first: fc.integer({ min: -1_000, max: 2 ** 40 }),
  count: fc.integer({ min: 1, max: 1_000 }),
};

/** Workers that play a seed each in an order that says whose turn it is. Returns the seeds as they were played. */
function hunted(hunt: Hunt, workers: number, turns: readonly number[], breaks: (seed: number) => boolean) {
  const played: number[] = [];
  let busy = Array.from({ length: workers }, () => hunt.seeds());
  for (let turn = 0; busy.length > 0; turn += 1) {
    const worker = busy[turns[turn % turns.length]! % busy.length]!;
    const { done, value: seed } = worker.next();
    if (done) {
      busy = busy.filter((one) => one !== worker);
      continue;
    }
    played.push(seed);
    if (breaks(seed)) hunt.failed(seed);
    else hunt.passed();
  }
  return played;
}

describe("seeds that several workers share", () => {
  const workers = fc.integer({ min: 1, max: 9 });
  const turns = fc.array(fc.nat(100), { minLength: 1, maxLength: 50 });

  it("are each played once, and by one", () => {
    fc.assert(
      fc.property(seeds.first, seeds.count, workers, turns, (first, count, jobs, order) => {
        const hunt = Hunt.over(first, count);
        const played = hunted(hunt, jobs, order, () => false);
        const all = Array.from({ length: count }, (_, index) => first + index);
        expect(played.toSorted((one, other) => one - other)).toEqual(all);
        expect(hunt.played).toBe(count);
        expect(hunt.lowest).toBeNull();
      }),
      { numRuns: 50 },
    );
  });

  it("lead to the smallest that breaks something, however many workers there are and whoever is ahead", () => {
    const failing = fc.array(fc.nat(1_200), { minLength: 1, maxLength: 5 });
    fc.assert(
      fc.property(seeds.first, seeds.count, workers, turns, failing, (first, count, jobs, order, bad) => {
        const hunt = Hunt.over(first, count);
        const broken = new Set(bad.map((offset) => first + offset));
        const played = hunted(hunt, jobs, order, (seed) => broken.has(seed));
        const smallest = Math.min(...[...broken].filter((seed) => seed < first + count));
        expect(hunt.lowest).toBe(Number.isFinite(smallest) ? smallest : null);
        expect(new Set(played).size).toBe(played.length);
      }),
      { numRuns: 100 },
    );
  });
});

describe("a search by several threads", () => {
  const mutant = MUTANTS.find(({ name }) => name === "report-settles-twice")!;

  it.each([1, 2, 3])("finds in %i what one loop finds", { timeout: 60_000 }, async (jobs) => {
    const failure = await firstFailureOf({ first: 1, count: 200, jobs, mutant });
    const alone = firstFailure(1, 200, mutant.protocol);
    expect(failure?.schedule).toEqual(alone?.schedule);
    expect(failure?.error.message).toBe(alone?.error.message);
    expect(failure).not.toBeNull();
  });

  it("finds nothing where nothing breaks, and tells how far it is", { timeout: 60_000 }, async () => {
    const told: number[] = [];
    const played = (schedules: number) => told.push(schedules);
    expect(await firstFailureOf({ first: 1, count: 70, jobs: 2, mutant: null, played })).toBeNull();
    expect(told.at(-1)).toBe(70);
  });

  it("fails where a thread does", { timeout: 60_000 }, async () => {
    const unknown = { ...mutant, name: "no-such-mutant" };
    await expect(firstFailureOf({ first: 1, count: 70, jobs: 2, mutant: unknown })).rejects.toThrow(
      "no-such",
    );
  });

  it("runs one thread per core, or as many as it is told within bounds", () => {
    expect(jobsFrom(undefined)).toBe(defaultJobs());
    expect(defaultJobs()).toBeGreaterThanOrEqual(1);
    expect(defaultJobs()).toBeLessThanOrEqual(JOBS_MAX);
    expect(jobsFrom("3")).toBe(3);
    for (const wrong of ["0", "-1", "2.5", "many", "", String(JOBS_MAX + 1)])
      expect(jobsFrom(wrong)).toBeNull();
  });
});

describe("the line of progress", () => {
  it("has a bar, the rate and the time that is left", () => {
    const progress = new Progress(1_000, 5_000);
    expect(progress.line(0, 5_000)).toBe(`${"░".repeat(30)} 0/1000  0/s  `);
    expect(progress.line(500, 10_000)).toBe(`${"█".repeat(15)}${"░".repeat(15)} 500/1000  100/s  5 s left`);
    expect(progress.line(10, 6_000)).toContain("10/1000  10/s  1 min 39 s left");
  });
});
