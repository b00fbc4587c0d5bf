import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { closingLine, countsOf, failedBefore, PROJECTS, splitArguments, sum } from "../../scripts/test.ts";
import { ROOT } from "./source.ts";

/** `npm test` must not look green when something went wrong. */

function report(passed: number, failed: number, skipped: number, files: readonly object[] = []): string {
  return JSON.stringify({
    ...{ numPassedTests: passed, numFailedTests: failed, numPendingTests: skipped, numTodoTests: 0 },
    testResults: files,
  });
}

describe("npm test", () => {
  it("counts what ran", () => {
    expect(countsOf({ status: 0, report: report(3, 0, 2) })).toEqual({ passed: 3, failed: 0, skipped: 2 });
    expect(countsOf({ status: 1, report: report(3, 2, 0) })).toEqual({ passed: 3, failed: 2, skipped: 0 });
  });

  it("counts a crash, a deadline and a missing report as one failure", () => {
    expect(countsOf({ status: 139, report: null }).failed).toBe(1);
    expect(countsOf({ status: null, report: null }).failed).toBe(1);
    expect(countsOf({ status: 1, report: report(3, 0, 0) }).failed).toBe(1);
  });

  it("counts a file that could not be loaded, beside failed tests of others", () => {
    const files = [
      { status: "failed", assertionResults: [] },
      { status: "failed", assertionResults: [{ status: "passed" }, { status: "failed" }] },
      { status: "passed", assertionResults: [{ status: "passed" }] },
    ];
    expect(countsOf({ status: 1, report: report(2, 1, 0, files) }).failed).toBe(2);
  });

  it("takes a project without test files for no failure", () => {
    expect(countsOf({ status: 0, report: report(0, 0, 0) })).toEqual({ passed: 0, failed: 0, skipped: 0 });
  });

  it("counts what CI saw fail before", () => {
    expect(failedBefore(undefined).failed).toBe(0);
    expect(failedBefore("2").failed).toBe(2);
    expect(() => failedBefore("two")).toThrow("must be a number");
  });

  it("sums up in one line", () => {
    const total = sum([
      { passed: 1, failed: 0, skipped: 2 },
      { passed: 10, failed: 3, skipped: 0 },
    ]);
    expect(closingLine(total)).toBe("11 passed, 3 failed, 2 skipped");
  });

  it("runs every project of vitest.config.ts", () => {
    const config = readFileSync(join(ROOT, "vitest.config.ts"), "utf8");
    const names = [...config.matchAll(/name: "(\w+)"/g)].map(([, name]) => name);
    expect(names.sort()).toEqual([...PROJECTS].sort());
  });

  it("passes everything on but the projects", () => {
    expect(splitArguments(["--project", "unit", "--project=e2e", "bucket", "-t", "x"])).toEqual({
      projects: ["unit", "e2e"],
      rest: ["bucket", "-t", "x"],
    });
    expect(splitArguments([])).toEqual({ projects: PROJECTS, rest: [] });
    expect(() => splitArguments(["--project", "nope"])).toThrow("no project 'nope'");
  });
});
