import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import type { Check, CheckContext, Result } from "./check.ts";
import { runMutants } from "./mutants.ts";
import { MODULES } from "./registry.ts";

/**
 * npm run infra:check [-- [--mutants] [NAME …]]: all checks of infra/, or those whose name contains a NAME. Exit
 * status 1 when one fails; a check whose tool is missing is skipped with a line.
 */

const root = fileURLToPath(new URL("../..", import.meta.url)).replace(/\/$/, "");
const cache = join(root, ".meridian", "infra");
const words = process.argv.slice(2).filter((word) => !word.startsWith("--"));
const wanted = (name: string) => words.length === 0 || words.some((word) => name.includes(word));

mkdirSync(cache, { recursive: true });
const context: CheckContext = { root, cache, say: (line) => console.log(`    ${line}`) };
const checks = MODULES.flatMap((module) => module.checks);

if (process.argv.includes("--mutants")) {
  const mutants = MODULES.flatMap((module) => module.mutants).filter(({ name }) => wanted(name));
  process.exitCode = (await runMutants(mutants, checks, context)) ? 0 : 1;
} else {
  process.exitCode = (await runChecks(checks.filter(({ name }) => wanted(name)))) ? 0 : 1;
}

async function runChecks(list: readonly Check[]): Promise<boolean> {
  const counts = { pass: 0, fail: 0, skip: 0 };
  for (const check of list) {
    console.log(`… ${check.name}`);
    const startedMs = Date.now();
    const result = await outcome(check);
    counts[result.kind] += 1;
    report(check, result, (Date.now() - startedMs) / 1000);
  }
  console.log(`\n${counts.pass} passed, ${counts.fail} failed, ${counts.skip} skipped`);
  return counts.fail === 0;
}

async function outcome(check: Check): Promise<Result> {
  try {
    return await check.run(context);
  } catch (error) {
    return { kind: "fail", lines: [error instanceof Error ? (error.stack ?? error.message) : String(error)] };
  }
}

function report({ name, notProved }: Check, result: Result, seconds: number): void {
  if (result.kind === "skip") {
    console.log(`– ${name}: skipped: ${result.why}`);
    return;
  }
  if (result.kind === "fail") {
    console.log(`✗ ${name} (${seconds.toFixed(1)} s)`);
    for (const line of result.lines) console.log(`    ${line}`);
    return;
  }
  console.log(`✓ ${name}: ${result.detail} (${seconds.toFixed(1)} s)\n    not proved: ${notProved}`);
}
