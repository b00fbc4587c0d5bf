import type { CheckContext } from "../check.ts";
import { type Diagnostic, errorsOf, lastLines, terraform } from "./terraform.ts";

interface TestEvent {
  readonly type: string;
  readonly diagnostic?: Diagnostic;
  readonly test_summary?: {
    readonly status: string;
    readonly passed: number;
    readonly failed: number;
    readonly errored: number;
  };
  readonly test_plan?: unknown;
}

export interface TestRun {
  readonly errors: readonly string[];
  readonly passed: number;
  readonly plans: readonly unknown[];
}

/** One test file, with the plans of its runs. A file of which no run passed has failed, whatever it says. */
export async function testFile(context: CheckContext, folder: string, file: string): Promise<TestRun> {
  const { output } = await terraform(context, folder, ["test", "-json", "-verbose", `-filter=tests/${file}`]);
  const events = output
    .split("\n")
    .filter((line) => line.startsWith("{"))
    .map((line) => JSON.parse(line) as TestEvent);
  const errors = errorsOf(events.flatMap(({ diagnostic }) => (diagnostic === undefined ? [] : [diagnostic])));
  const summary = events.find(({ type }) => type === "test_summary")?.test_summary;
  const passed = summary?.passed ?? 0;
  const silent =
    errors.length === 0 && (summary?.status !== "pass" || passed === 0)
      ? [`${file}: ${lastLines(output)}`]
      : [];
  const plans = events.flatMap(({ test_plan: plan }) => (plan === undefined ? [] : [plan]));
  return { errors: [...errors, ...silent], passed, plans };
}
