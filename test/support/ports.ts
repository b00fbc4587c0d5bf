/** Ports below those that the system gives to outgoing connections, in ranges of which each test process has its own. */
const LOWEST_PORT = 10_000;
const RANGE_PORTS = 700;
const RUNS = 10;
const PROCESSES_PER_RUN = 3;

/**
 * Where this process may begin to look for free ports. Test files run side by side, and two that look in one range
 * would find the same port free and then both bind it.
 */
export function firstPort(): number {
  const run = process.ppid % RUNS;
  const worker = (Number(process.env.VITEST_POOL_ID ?? 1) - 1) % PROCESSES_PER_RUN;
  return LOWEST_PORT + (run * PROCESSES_PER_RUN + worker) * RANGE_PORTS;
}
