import { workerData } from "node:worker_threads";
import { Hunt, type HuntState } from "./hunt.ts";
import { MUTANTS } from "./mutants.ts";
import { PROTOCOL } from "./protocol.ts";
import { scheduleOf } from "./schedule.ts";
import { failureOf } from "./search.ts";

/** A thread of jobs.ts. A protocol is functions, which no message carries: a mutant comes by its name. */
const { hunt, mutant } = workerData as { readonly hunt: HuntState; readonly mutant: string | null };
const found = MUTANTS.find(({ name }) => name === mutant);
if (mutant !== null && !found) throw new Error(`sim: there is no mutant ${mutant}`);
const protocol = found?.protocol ?? PROTOCOL;
const hunted = new Hunt(hunt);
for (const seed of hunted.seeds()) {
  if (failureOf(scheduleOf(seed), protocol) === null) hunted.passed();
  else hunted.failed(seed);
}
