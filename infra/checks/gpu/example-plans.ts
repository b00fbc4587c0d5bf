import type { CheckContext } from "../check.ts";
import { examplesOf } from "./terraform.ts";
import { type TestRun, testFile } from "./test-file.ts";

export interface ExamplePlan extends TestRun {
  readonly folder: string;
}

/** Planning takes a minute for all; two checks look at the plans. */
const planned = new Map<string, Promise<ExamplePlan[]>>();

/** All examples, planned with mocks, two at a time. */
export function examplePlans(context: CheckContext): Promise<ExamplePlan[]> {
  const known = planned.get(context.root) ?? planAll(context);
  planned.set(context.root, known);
  return known;
}

async function planAll(context: CheckContext): Promise<ExamplePlan[]> {
  const folders = examplesOf(context.root);
  const done: ExamplePlan[] = [];
  const worker = async () => {
    for (let folder = folders.shift(); folder !== undefined; folder = folders.shift()) {
      done.push({ folder, ...(await testFile(context, folder, "plan.tftest.hcl")) });
      context.say(`planned ${folder}`);
    }
  };
  await Promise.all([worker(), worker()]);
  return done.sort((a, b) => a.folder.localeCompare(b.folder));
}
