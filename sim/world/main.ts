import { parseArgs } from "node:util";
import { actionOf, scheduleOf, settingOf } from "./schedule.ts";
import { type Failure, failureOf, firstFailure, shrunk } from "./search.ts";

/**
 * `npm run sim -- --schedules N --seed S`: plays N random schedules from seed S on and stops at the first that breaks an
 * invariant. `--keep 0,3,7` plays only these actions of the one schedule S, as a failure's replay line says.
 */
const USAGE = "npm run sim -- [--schedules N] [--seed S] [--keep 0,3,7]";
const BAR_WIDTH = 30;
const BAR_EVERY = 250;

const { values } = parseArgs({
  options: {
    schedules: { type: "string", default: "20000" },
    seed: { type: "string", default: "1" },
    keep: { type: "string" },
  },
});
const seed = Number(values.seed);
const count = Number(values.schedules);
if (!Number.isSafeInteger(seed) || !Number.isSafeInteger(count) || count < 1) {
  console.error(USAGE);
  process.exit(2);
}
process.exitCode = values.keep === undefined ? explore() : replay(values.keep);

function explore(): number {
  const startedMs = performance.now();
  const failure = firstFailure(seed, count, undefined, (played) => {
    const done = played - seed + 1;
    if (done % BAR_EVERY === 0 || done === count) showProgress(done, startedMs);
  });
  if (process.stderr.isTTY) process.stderr.write("\n");
  const seconds = ((performance.now() - startedMs) / 1_000).toFixed(1);
  if (failure) return tell(failure);
  console.log(`${count} schedules from seed ${seed} on, ${seconds} s: 0 violations`);
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

/** On a terminal one line that fills; elsewhere a line for every tenth. */
function showProgress(done: number, startedMs: number): void {
  const share = done / count;
  const perSecond = Math.round(done / ((performance.now() - startedMs) / 1_000));
  if (process.stderr.isTTY) {
    const bar = "█".repeat(Math.round(share * BAR_WIDTH)).padEnd(BAR_WIDTH, "░");
    process.stderr.write(`\r${bar} ${done}/${count}  ${perSecond}/s `);
  } else if (Math.floor(share * 10) > Math.floor(((done - BAR_EVERY) / count) * 10)) {
    process.stderr.write(`${done}/${count}  ${perSecond}/s\n`);
  }
}
