import { join } from "node:path";
import { pathToFileURL } from "node:url";
import type { Check, CheckContext, Result } from "../check.ts";
import { fail, skip, verdict } from "../check.ts";
import { Missing, ran } from "../edge/toolchain.ts";
import { examplePlans } from "./example-plans.ts";
import { planFindings, plannedResources } from "./plan.ts";
import { baseEnv, type Diagnostic, errorsOf, terraform } from "./terraform.ts";
import { testFile } from "./test-file.ts";

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
    const errors = await validated(context, MODULE);
    return verdict(
      errors,
      "with the real AWS provider's schema; the examples are validated as they are planned",
    );
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

interface OutputChanges {
  readonly output_changes?: {
    readonly pools?: { readonly after: readonly { readonly gates: readonly string[] }[] };
  };
}

/** What `npm run deploy` would register must be what the registry takes: the admin API's own schema says. */
async function poolsFit(context: CheckContext, plans: readonly unknown[]): Promise<string[]> {
  const url = pathToFileURL(join(context.root, "src/catalogue.ts")).href;
  const { poolInputSchema } = (await import(url)) as typeof import("../../../src/catalogue.ts");
  const pools = plans.flatMap((plan) => (plan as OutputChanges).output_changes?.pools?.after ?? []);
  if (pools.length === 0) return ["no pool in the output pools"];
  return pools.flatMap((pool) => {
    const { error } = poolInputSchema.safeParse({
      ...pool,
      gates: pool.gates.map((gate) => `https://${gate}`),
    });
    return (error?.issues ?? []).map(({ path, message }) => `output pools: ${path.join(".")}: ${message}`);
  });
}

const examples = check("gpu:examples", MOCKED, async (context) => {
  const plans = await examplePlans(context);
  if (plans.length === 0) return fail("no examples");
  const resources = plans.flatMap(({ plans: each }) => each.flatMap(plannedResources));
  const unfit: string[] = [];
  for (const { folder, plans: each } of plans) {
    unfit.push(...(await poolsFit(context, each)).map((line) => `${folder}: ${line}`));
  }
  const found = plans.flatMap(({ folder, errors, plans: each }) => {
    // With mocks a policy is a placeholder: gpu:plan-policies judges it.
    const wrong = planFindings(each.flatMap(plannedResources)).filter((line) => !line.includes(": policy:"));
    return [...new Set([...errors, ...wrong])].map((line) => `${folder}: ${line}`);
  });
  return verdict(
    [...found, ...unfit],
    `${plans.length} examples planned, ${resources.length} resources; the registry takes their pools`,
  );
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
