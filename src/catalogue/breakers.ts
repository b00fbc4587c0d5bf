import { z } from "zod";
import { FIRST_TOKEN_TIMEOUT_MS } from "../bounds.ts";

/** When a breaker opens, as operators set it per model. Each trigger can be changed, or switched off with null. */

const share = z.number().min(0).max(1);
const seconds = z.number().int().min(1).max(60);
const samples = z.number().int().min(1).max(10_000);
const row = z.number().int().min(1).max(1_000);
const clearMs = z.number().int().min(0).max(600_000);

const ERROR_RATE = { above: 0.5, windowSeconds: 10, samplesMin: 20, inARow: 5 };
const SLOW = {
  ...{ of: "first_token" as const, afterMs: FIRST_TOKEN_TIMEOUT_MS, above: 0.01 },
  ...{ windowSeconds: 60, samplesMin: 100, slowMin: 3, inARow: 5 },
};
const MEMORY = { above: 0.95, clearBelow: 0.85, samples: 3, clearMs: 30_000 };
const QUEUE = { above: 1_000, clearBelow: 700, samples: 1, clearMs: 10_000 };

const errorRateSchema = z.strictObject({
  above: share.default(ERROR_RATE.above).describe("Share of requests that failed."),
  windowSeconds: seconds.default(ERROR_RATE.windowSeconds),
  samplesMin: samples.default(ERROR_RATE.samplesMin).describe("Requests in the window, or it says nothing."),
  inARow: row.default(ERROR_RATE.inARow).describe("Below 'samplesMin': that many failures in a row."),
});

const slowSchema = z.strictObject({
  of: z
    .enum(["first_token", "total"])
    .default(SLOW.of)
    .describe("What is timed: the wait for the first token, or the whole request."),
  afterMs: z
    .number()
    .int()
    .min(10)
    .max(900_000)
    .default(SLOW.afterMs)
    .describe("A request counts as slow at this age, not when it ends."),
  above: share.default(SLOW.above).describe("Share of slow requests: 0.01 judges the 99th percentile."),
  windowSeconds: seconds.default(SLOW.windowSeconds),
  samplesMin: samples.default(SLOW.samplesMin),
  slowMin: samples.default(SLOW.slowMin).describe("Slow requests in the window, at least."),
  inARow: row.default(SLOW.inARow).describe("Below 'samplesMin': slow requests with no answer between them."),
});

const memorySchema = z
  .strictObject({
    above: share.default(MEMORY.above),
    clearBelow: share.default(MEMORY.clearBelow),
    samples: row.default(MEMORY.samples).describe("Looks at it in a row, a second apart at least."),
    clearMs: clearMs.default(MEMORY.clearMs).describe("Below 'clearBelow' for so long, or it still holds."),
  })
  .refine(({ above, clearBelow }) => clearBelow <= above, "clearBelow must not be above 'above'");

const queueSchema = z
  .strictObject({
    above: z.number().int().min(0).max(1_000_000).default(QUEUE.above),
    clearBelow: z.number().int().min(0).max(1_000_000).default(QUEUE.clearBelow),
    samples: row.default(QUEUE.samples),
    clearMs: clearMs.default(QUEUE.clearMs),
  })
  .refine(({ above, clearBelow }) => clearBelow <= above, "clearBelow must not be above 'above'");

export const breakerSettingsSchema = z
  .strictObject({
    errorRate: errorRateSchema
      .nullable()
      .default(ERROR_RATE)
      .describe("Too many requests fail. A client's own mistakes and a full engine do not count."),
    slow: slowSchema.nullable().default(SLOW).describe("Too many requests wait too long."),
    memory: memorySchema
      .nullable()
      .default(MEMORY)
      .describe("The GPU's memory is full, as its exporter tells; without one, the KV cache."),
    queue: queueSchema.nullable().default(QUEUE).describe("Too many requests wait inside the engine."),
  })
  .meta({ id: "BreakerSettings" });
export type BreakerSettings = z.infer<typeof breakerSettingsSchema>;

export const BREAKER_DEFAULTS: BreakerSettings = {
  errorRate: ERROR_RATE,
  slow: SLOW,
  memory: MEMORY,
  queue: QUEUE,
};
