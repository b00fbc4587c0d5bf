import { parseArgs } from "node:util";
import { firstFailureOf, JOBS_MAX, jobsFrom } from "./jobs.ts";
import { Progress } from "./progress.ts";
import { actionOf, scheduleOf, settingOf } from "./schedule.ts";
import { type Failure, failureOf, shrunk } from "./search.ts";

/**
 * `npm run sim -- --schedules N --seed S`: plays N random schedules from seed S on and stops at the first that breaks an
 * invariant, which is the same one for any number of threads (`--jobs`; as many as there are cores). `--keep 0,3,7` plays only
 * these actions of the one schedule S, as a failure's replay line says.
 */
const USAGE = `npm run sim -- [--schedules N] [--seed S] [--jobs 1 to ${JOBS_MAX}] [--keep 0,3,7]`;

const { values } = parseArgs({
  options: {
    schedules: { type: "string", default: "20000" },
    seed: { type: "string", default: "1" },
    jobs: { type: "string" },
    keep: { type: "string" },
  },
});
const seed = Number(values.seed);
const count = Number(values.schedules);
const jobs = jobsFrom(values.jobs);
if (!Number.isSafeInteger(seed) || !Number.isSafeInteger(count) || count < 1 || jobs === null) {
  console.error(USAGE);
  process.exit(2);
}
process.exitCode = values.keep === undefined ? await explore(jobs) : replay(values.keep);

async function explore(jobs: number): Promise<number> {
  const startedMs = performance.now();
  const progress = new Progress(count, startedMs);
  const failure = await firstFailureOf({
    ...{ first: seed, count, jobs, mutant: null },
    played: (schedules) => progress.show(schedules, performance.now()),
  });
  progress.end();
  const seconds = ((performance.now() - startedMs) / 1_000).toFixed(1);
  if (failure) return tell(failure);
  console.log(`${count} schedules from seed ${seed} on, ${seconds} s, ${jobs} at once: 0 violations`);
  return 0;
}

function replay(keep: string): number {
  const { actions } = scheduleOf(seed);
  const kept = keep === "" ? [] : keep.split(",").map((index) => actions[Number(index)] ?? 0);
  const failure = failureOf({ seed, actions: kept });
  describe(seed, kept);
  console.log(failure ? failure.error.stack : "0 violations");
  return failure ? 1 : 0;
}

function tell(failure: Failure): number {
  const { keep, error } = shrunk(failure);
  const { schedule } = failure;
  console.log(`seed ${schedule.seed}: ${failure.error.message}`);
  console.log(`needs ${keep.length} of its ${schedule.actions.length} actions: ${error.message}`);
  describe(
    schedule.seed,
    keep.map((index) => schedule.actions[index]!),
  );
  console.log(`replay: npm run sim -- --seed ${schedule.seed} --keep "${keep.join(",")}"`);
  return 1;
}

function describe(seed: number, actions: readonly number[]): void {
  const setting = settingOf(seed);
  console.log(JSON.stringify(setting));
  for (const action of actions) console.log(` ${JSON.stringify(actionOf(action, setting.holders + 1))}`);
}
