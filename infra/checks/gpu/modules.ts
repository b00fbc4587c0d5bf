import type { Check, CheckContext, Result } from "../check.ts";
import { fail, pass, skip, verdict } from "../check.ts";
import { Missing, ran } from "../edge/toolchain.ts";
import { planFindings, plannedResources } from "./plan.ts";
import { baseEnv, type Diagnostic, errorsOf, examplesOf, lastLines, terraform } from "./terraform.ts";

/** Checks that Terraform itself makes of gpu-origin and of the examples. */

const MODULE = "infra/gpu-origin";
const MOCKED =
  "AWS was mocked: whether it has the capacity, the quotas, the AMIs, or takes the combination, only an account says";

/** A check is skipped, not failed, where its tool is missing. */
export function check(
  name: string,
  notProved: string,
  run: (context: CheckContext) => Promise<Result>,
): Check {
  return {
    name,
    notProved,
    run: (context) =>
      run(context).catch((error: unknown) => {
        if (error instanceof Missing) return skip(error.message);
        throw error;
      }),
  };
}

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

interface TestRun {
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

const testCheck = (file: string, notProved: string) =>
  check(`gpu:test:${file}`, notProved, async (context) => {
    const { errors, passed } = await testFile(context, MODULE, `${file}.tftest.hcl`);
    return verdict(errors, `${passed} runs`);
  });

const fmt = check("gpu:fmt", "layout only", async (context) => {
  const args = ["fmt", "-check", "-recursive", "-no-color"];
  const folders = ["gpu-origin", "examples"].map((name) => `${context.root}/infra/${name}`);
  const outcomes = await Promise.all(
    folders.map((folder) => ran("terraform", [...args, folder], { env: baseEnv() })),
  );
  const wrong = outcomes
    .filter(({ status }) => status !== 0)
    .flatMap(({ output }) => output.trim().split("\n"));
  return verdict(
    wrong.map((line) => `not formatted: ${line}`),
    "terraform fmt",
  );
});

async function validated(context: CheckContext, folder: string): Promise<string[]> {
  const { output } = await terraform(context, folder, ["validate", "-json"]);
  const start = output.indexOf("{");
  const { diagnostics } = JSON.parse(output.slice(start)) as { diagnostics: Diagnostic[] };
  return errorsOf(diagnostics).map((line) => `${folder}: ${line}`);
}

const validate = check(
  "gpu:validate",
  "names, types and shapes; values that only AWS knows pass",
  async (context) => {
    const folders = [MODULE, ...examplesOf(context.root)];
    const errors: string[] = [];
    for (const folder of folders) errors.push(...(await validated(context, folder)));
    return verdict(errors, `${folders.length} roots, with the real AWS provider's schema`);
  },
);

const policies = check(
  "gpu:plan-policies",
  "what AWS makes of the policies; conditions of a key's own policy are not judged",
  async (context) => {
    const { errors, plans } = await testFile(context, MODULE, "policies.tftest.hcl");
    const resources = plans.flatMap(plannedResources);
    if (resources.length === 0) return fail(...errors, "no plan to look at");
    const found = [...new Set([...planFindings(resources), ...errors])];
    return verdict(
      found,
      `${resources.length} planned resources, policies as the real provider computes them`,
    );
  },
);

const examples = check("gpu:examples", MOCKED, async (context) => {
  const folders = examplesOf(context.root);
  if (folders.length === 0) return fail("no examples");
  const found: string[] = [];
  let looked = 0;
  for (const folder of folders) {
    const { errors, plans } = await testFile(context, folder, "plan.tftest.hcl");
    const resources = plans.flatMap(plannedResources);
    looked += resources.length;
    // With mocks a policy is a placeholder: gpu:plan-policies judges it.
    const wrong = planFindings(resources).filter((line) => !line.includes(": policy:"));
    found.push(...[...new Set([...errors, ...wrong])].map((line) => `${folder}: ${line}`));
  }
  return found.length > 0
    ? { kind: "fail", lines: found }
    : pass(`${folders.length} examples planned, ${looked} resources`);
});

export const TERRAFORM_CHECKS: readonly Check[] = [
  fmt,
  validate,
  testCheck("plan", MOCKED),
  testCheck(
    "validation",
    "mistakes that no variable's validation names; instance types are compared with a list kept by hand",
  ),
  policies,
  testCheck("apply", `${MOCKED}; the order of a real apply, eventual consistency`),
  examples,
];
