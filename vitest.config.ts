import { availableParallelism } from "node:os";
import { cloudflareTest } from "@cloudflare/vitest-plugin";
import { defineConfig } from "vitest/config";
import { WORKERD_OPTIONS } from "./test/workerd/config.ts";

// One project per kind of test, slowest last: pure code in Node, objects in workerd, the built Worker end to
// end, and a real vLLM where MERIDIAN_VLLM_URL names one.
export default defineConfig({
  test: {
    projects: [
      { test: { name: "tidy", include: ["test/tidy/**/*.test.ts"], environment: "node" } },
      {
        test: {
          name: "unit",
          include: ["test/unit/**/*.test.ts"],
          environment: "node",
          // Half of its time goes to sockets and short timers: one core need not be kept free for vitest itself.
          maxWorkers: Math.max(2, availableParallelism()),
          testTimeout: 20_000,
        },
      },
      {
        plugins: [cloudflareTest(WORKERD_OPTIONS)],
        // Properties with thousands of calls of objects take their time where cores are shared.
        test: { name: "workerd", include: ["test/workerd/**/*.test.ts"], testTimeout: 30_000 },
      },
      {
        test: {
          name: "e2e",
          // Whole stacks on a shared machine: in CI a test gets a second try, and vitest reports that it took one.
          retry: process.env.CI ? 1 : 0,
          include: ["test/e2e/**/*.test.ts"],
          environment: "node",
          // A stack waits for clocks half of its time. Each test process has ports of its own (test/support/ports.ts).
          maxWorkers: 3,
          testTimeout: 60_000,
          hookTimeout: 60_000,
        },
      },
      {
        test: {
          name: "vllm",
          include: ["test/vllm/**/*.test.ts"],
          environment: "node",
          fileParallelism: false,
          testTimeout: 180_000,
        },
      },
    ],
  },
});
