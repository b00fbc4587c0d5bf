import { parseArgs } from "node:util";
import { MUTANTS } from "../mutants.ts";
import { firstFailure, shrunk } from "../search.ts";

/**
 * `npm run sim:mutants`: the protocol with one thing wrong at a time. Each must be caught; the table says by which seed
 * and by which invariant. Exits with 1 when one survives, since then the simulator proves less than it claims.
 */
const { values } = parseArgs({
  options: {
    schedules: { type: "string", default: "4000" },
    seed: { type: "string", default: "1" },
    /** Only mutants whose name has this in it. */
    name: { type: "string", default: "" },
  },
});
const PLAYED = MUTANTS.filter(({ name }) => name.includes(values.name));
const seed = Number(values.seed);
let survivors = 0;

console.log("| mutant | what is wrong | smallest seed | actions | caught by |");
console.log("|---|---|---|---|---|");
for (const { name, wrong, protocol } of PLAYED) {
  const failure = firstFailure(seed, Number(values.schedules), protocol);
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
