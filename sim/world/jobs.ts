import { availableParallelism } from "node:os";
import { Worker } from "node:worker_threads";
import { Hunt } from "./hunt.ts";
import type { Mutant } from "./mutants/mutant.ts";
import { scheduleOf } from "./schedule.ts";
import { type Failure, failureOf } from "./search.ts";

/** Threads at once: each has a heap of its own, and no machine that this was tried on has more cores. */
export const JOBS_MAX = 64;
const LOOK_EVERY_MS = 250;

/** As many threads as there are cores. */
export function defaultJobs(): number {
  return Math.max(1, Math.min(JOBS_MAX, availableParallelism()));
}

/** From what `--jobs` says; null when it is no such number. */
export function jobsFrom(option: string | undefined): number | null {
  if (option === undefined) return defaultJobs();
  const jobs = Number(option);
  return Number.isInteger(jobs) && jobs >= 1 && jobs <= JOBS_MAX ? jobs : null;
}

/** What to hunt through: seeds, by how many threads, and of which protocol; null: the true one. */
export interface Search {
  readonly first: number;
  readonly count: number;
  readonly jobs: number;
  readonly mutant: Mutant | null;
  readonly played?: (schedules: number) => void;
}

/** The smallest seed whose schedule breaks something, or null: the same one for any number of threads. */
export async function firstFailureOf({
  count,
  first,
  jobs,
  mutant,
  played,
}: Search): Promise<Failure | null> {
  const hunt = Hunt.over(first, count);
  const workers = Array.from({ length: Math.min(jobs, hunt.parts) }, () => {
    const workerData = { hunt: hunt.state, mutant: mutant?.name ?? null };
    // Flags of the process that this one was started with mean its own modules.
    return new Worker(new URL("./worker.ts", import.meta.url), { workerData, execArgv: [] });
  });
  const looks = setInterval(() => played?.(hunt.played), LOOK_EVERY_MS);
  try {
    await Promise.all(workers.map(ended));
  } finally {
    clearInterval(looks);
    for (const worker of workers) void worker.terminate();
  }
  played?.(hunt.played);
  const seed = hunt.lowest;
  return seed === null ? null : failureOf(scheduleOf(seed), mutant?.protocol);
}

function ended(worker: Worker): Promise<void> {
  return new Promise((resolve, reject) => {
    worker.once("error", reject);
    worker.once("exit", () => resolve());
  });
}
