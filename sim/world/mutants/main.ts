import { parseArgs } from "node:util";
import { firstFailureOf, jobsFrom } from "../jobs.ts";
import { MUTANTS } from "../mutants.ts";
import { shrunk } from "../search.ts";

/**
 * `npm run sim:mutants`: the protocol with one thing wrong at a time. Each must be caught; the table says by which seed
 * and by which invariant. Exits with 1 when one survives, since then the simulator proves less than it claims.
 */
const { values } = parseArgs({
  options: {
    schedules: { type: "string", default: "4000" },
    seed: { type: "string", default: "1" },
    /** Threads; as many as there are cores. */
    jobs: { type: "string" },
    /** Only mutants whose name has this in it. */
    name: { type: "string", default: "" },
  },
});
const PLAYED = MUTANTS.filter(({ name }) => name.includes(values.name));
const seed = Number(values.seed);
const jobs = jobsFrom(values.jobs);
if (jobs === null) {
  console.error("npm run sim:mutants -- [--schedules N] [--seed S] [--jobs J] [--name PART]");
  process.exit(2);
}
let survivors = 0;

console.log("| mutant | what is wrong | smallest seed | actions | caught by |");
console.log("|---|---|---|---|---|");
for (const mutant of PLAYED) {
  const { name, wrong, protocol } = mutant;
  const failure = await firstFailureOf({ first: seed, count: Number(values.schedules), jobs, mutant });
  if (failure === null) {
    survivors += 1;
    console.log(`| ${name} | ${wrong} | – | – | **nothing** |`);
    continue;
  }
  const { keep, error } = shrunk(failure, protocol);
  const by = error.message.replaceAll("|", "/").slice(0, 80);
  console.log(`| ${name} | ${wrong} | ${failure.schedule.seed} | ${keep.length} | ${by} |`);
}
console.log(`\n${PLAYED.length - survivors} of ${PLAYED.length} caught`);
process.exitCode = survivors === 0 ? 0 : 1;
