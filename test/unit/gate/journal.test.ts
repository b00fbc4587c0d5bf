import { appendFileSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, it } from "vitest";
import type { UsageReport } from "../../../src/contract/report.ts";
import { Journal } from "../../../src/gate/journal.ts";

let dir: string;
let file: string;
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), "meridian-journal-"));
  file = join(dir, "journal");
});
afterEach(() => rmSync(dir, { recursive: true, force: true }));

const report = (ticket: string): UsageReport => ({
  ticket,
  usage: { promptTokens: 1, cachedTokens: 0, outputTokens: 2 },
  final: true,
  outcome: "complete",
});

it("gives the next process what was not taken, and skips a line that was cut short", () => {
  const first = new Journal(file);
  first.add(report("a"));
  first.add(report("b"));
  appendFileSync(file, '{"ticket":"c","usa');
  first.close();
  expect(new Journal(file).left).toEqual([report("a"), report("b")]);
});

it("is empty once all were taken, and keeps those that wait", () => {
  const journal = new Journal(file);
  journal.add(report("a"));
  journal.taken([report("a")]);
  expect(new Journal(file).left).toEqual([report("a")]);
  journal.taken([]);
  expect(readFileSync(file, "utf8")).toBe("");
  journal.add(report("b"));
  expect(new Journal(file).left).toEqual([report("b")]);
});
