import { spawn } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const ROOT = fileURLToPath(new URL("..", import.meta.url));
/** vitest.config.ts says what each is. Fast ones first, so that a slip shows soon. */
export const PROJECTS = ["tidy", "unit", "workerd", "e2e", "vllm"];
/** A project that is not done by then is ended and counts as one failure. */
const PROJECT_DEADLINE_MS = 10 * 60_000;
const KILL_GRACE_MS = 10_000;

const USAGE = `npm test [-- --project NAME] [FILTER] [vitest options]

  Runs each project (${PROJECTS.join(", ")}) in a process of its own, and ends with one line:
  N passed, N failed, N skipped

  --project NAME   that one only; may be repeated
  FILTER           only files whose path contains it

  MERIDIAN_FAILED_BEFORE=N   counts N more as failed: what CI saw fail before it came here`;

export interface Counts {
  readonly passed: number;
  readonly failed: number;
  readonly skipped: number;
}

/** How one run of vitest ended. `report` is its JSON report, or null when there is none. */
export interface Run {
  readonly status: number | null;
  readonly report: string | null;
}

interface Report {
  readonly numPassedTests: number;
  readonly numFailedTests: number;
  readonly numPendingTests: number;
  readonly numTodoTests: number;
  readonly testResults: readonly {
    readonly status: string;
    readonly assertionResults: readonly { readonly status: string }[];
  }[];
}

/**
 * Counts a run. A file that could not be loaded or whose set-up failed holds no failed test, and yet is one failure;
 * so is a run that ends badly while every test passed (an unhandled rejection, a crash, the deadline).
 */
export function countsOf({ status, report }: Run): Counts {
  const parsed = report === null ? null : (JSON.parse(report) as Report);
  if (parsed === null) return { passed: 0, failed: status === 0 ? 0 : 1, skipped: 0 };
  const brokenFiles = parsed.testResults.filter(
    (file) => file.status === "failed" && !file.assertionResults.some((test) => test.status === "failed"),
  ).length;
  const failed = parsed.numFailedTests + brokenFiles;
  return {
    passed: parsed.numPassedTests,
    failed: failed === 0 && status !== 0 ? 1 : failed,
    skipped: parsed.numPendingTests + parsed.numTodoTests,
  };
}

export function sum(counts: readonly Counts[]): Counts {
  return counts.reduce(
    (all, one) => ({
      passed: all.passed + one.passed,
      failed: all.failed + one.failed,
      skipped: all.skipped + one.skipped,
    }),
    { passed: 0, failed: 0, skipped: 0 },
  );
}

export function closingLine({ passed, failed, skipped }: Counts): string {
  return `${passed} passed, ${failed} failed, ${skipped} skipped`;
}

export function failedBefore(text: string | undefined): Counts {
  const failed = Number(text || 0);
  if (!Number.isInteger(failed) || failed < 0) throw new Error("MERIDIAN_FAILED_BEFORE must be a number");
  return { passed: 0, failed, skipped: 0 };
}

/** Takes the projects out of the arguments; the rest is vitest's. Throws when a project does not exist. */
export function splitArguments(args: readonly string[]): { projects: readonly string[]; rest: string[] } {
  const projects: string[] = [];
  const rest: string[] = [];
  for (let at = 0; at < args.length; at++) {
    const [name, value] = /^--project(?:=(.*))?$/.exec(args[at]!) ?? [];
    if (name === undefined) rest.push(args[at]!);
    else projects.push(value ?? args[++at] ?? "");
  }
  for (const project of projects) {
    if (!PROJECTS.includes(project)) {
      throw new Error(`no project '${project}': choose among ${PROJECTS.join(", ")}`);
    }
  }
  return { projects: projects.length === 0 ? PROJECTS : projects, rest };
}

async function runProject(project: string, rest: readonly string[], reportFile: string): Promise<Run> {
  const vitest = join(dirname(createRequire(import.meta.url).resolve("vitest/package.json")), "vitest.mjs");
  const reporters = ["--reporter=default", "--reporter=json", `--outputFile.json=${reportFile}`];
  const args = [vitest, "run", "--project", project, "--passWithNoTests", ...reporters, ...rest];
  const child = spawn(process.execPath, args, { cwd: ROOT, stdio: "inherit" });
  const timers = [
    setTimeout(() => child.kill("SIGTERM"), PROJECT_DEADLINE_MS),
    setTimeout(() => child.kill("SIGKILL"), PROJECT_DEADLINE_MS + KILL_GRACE_MS),
  ];
  const end = () => child.kill("SIGTERM");
  process.once("SIGTERM", end);
  const status = await new Promise<number | null>((resolve) => {
    child.once("error", () => resolve(null));
    child.once("exit", resolve);
  });
  process.off("SIGTERM", end);
  for (const timer of timers) clearTimeout(timer);
  return { status, report: readIfThere(reportFile) };
}

function readIfThere(file: string): string | null {
  try {
    return readFileSync(file, "utf8");
  } catch {
    return null;
  }
}

async function main(): Promise<void> {
  const args = process.argv.slice(2);
  if (args.includes("--help")) return console.log(USAGE);
  const { projects, rest } = splitArguments(args);
  const folder = mkdtempSync(join(tmpdir(), "meridian-test-"));
  // Each run is told of an interruption by the terminal; this one waits for it, to end with its line all the same.
  let interrupted = false;
  for (const signal of ["SIGINT", "SIGTERM"] as const) {
    process.on(signal, () => {
      interrupted = true;
    });
  }
  const counts: Counts[] = [failedBefore(process.env.MERIDIAN_FAILED_BEFORE)];
  try {
    for (const project of projects) {
      console.log(`\n── ${project} ${"─".repeat(Math.max(0, 76 - project.length))}`);
      counts.push(countsOf(await runProject(project, rest, join(folder, `${project}.json`))));
      if (interrupted) break;
    }
  } finally {
    rmSync(folder, { recursive: true });
  }
  const total = sum(counts);
  const ran = sum(counts.slice(1));
  const ranNothing = ran.passed + ran.failed + ran.skipped === 0;
  if (ranNothing) console.log(`\nnothing ran: no test matches ${rest.join(" ") || projects.join(", ")}`);
  console.log(`\n${closingLine(total)}`);
  process.exitCode = total.failed > 0 || ranNothing || interrupted ? 1 : 0;
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  main().catch((error) => {
    console.error(`test: ${error instanceof Error ? error.message : String(error)}`);
    console.log(closingLine({ passed: 0, failed: 1, skipped: 0 }));
    process.exitCode = 1;
  });
}
