import { describe, expect, it } from "vitest";
import { type EngineSpec, type Job, StepEngine } from "../../../sim/fleet/step-engine.ts";
import { Events } from "../../../sim/world/events.ts";

/** The step engine against cases computed by hand: T = 8 ms + 0.1 ms per prompt token + 0.1 ms per decoding sequence. */

const SPEC: EngineSpec = {
  stepBaseMs: 8,
  msPerPrefillToken: 0.1,
  msPerDecode: 0.1,
  stepTokensMax: 8_192,
  sequencesMax: 256,
  gpuTokens: 20_000,
  hostTokens: 0,
};
/** Twenty blocks of 512 tokens and one partial one of 100. */
const SIZES = Int32Array.from([...Array.from({ length: 60 }, () => 512), 100]);

interface Watched extends Job {
  readonly log: { cached?: number; first?: number; end?: number };
}

function rig(spec: Partial<EngineSpec> = {}) {
  const events = new Events();
  const engine = new StepEngine({ ...SPEC, ...spec }, SIZES, events);
  const submit = (blocks: readonly number[], outputTokens: number, promptTokens?: number): Watched => {
    const log: Watched["log"] = {};
    const job: Watched = {
      log,
      blocks,
      outputTokens,
      roomTokens: outputTokens,
      promptTokens: promptTokens ?? blocks.reduce((sum, block) => sum + SIZES[block]!, 0),
      admitted: (cached) => Object.assign(log, { cached }),
      firstToken: () => Object.assign(log, { first: round(events.nowMs) }),
      ended: () => Object.assign(log, { end: round(events.nowMs) }),
    };
    engine.submit(job);
    return job;
  };
  const run = (untilMs = Infinity) => {
    while (events.step(untilMs));
  };
  return { events, engine, submit, run };
}

const round = (ms: number) => Math.round(ms * 1_000) / 1_000;
const range = (from: number, to: number) => Array.from({ length: to - from }, (_, at) => from + at);

describe("a step engine", () => {
  it("computes a prompt in one step and decodes one token a step", () => {
    const { submit, run } = rig();
    const { log } = submit([0, 1], 3);
    run();
    // 8 + 102.4, then two steps of 8 + 0.1
    expect(log).toEqual({ cached: 0, first: 110.4, end: 126.6 });
  });

  it("cuts a prompt that is larger than a step into chunks", () => {
    const { submit, run } = rig();
    const { log } = submit(range(0, 20), 1);
    run();
    // 10,240 tokens: a step of 8,192 (827.2 ms) and one of 2,048 (212.8 ms)
    expect(log).toEqual({ cached: 0, first: 1_040, end: 1_040 });
  });

  it("shares a step among prompts, first come, first served, and lets decoding compete", () => {
    const { submit, run, events } = rig();
    const one = submit([0], 2);
    const other = submit([1], 1);
    run(1);
    events.after(50, () => submit([2], 1));
    run();
    // Both in one step of 8 + 102.4. What came at 50 ms waits for its end: 8 + 51.2 + 0.1 for the one that decodes.
    expect(one.log).toEqual({ cached: 0, first: 110.4, end: 169.7 });
    expect(other.log).toEqual({ cached: 0, first: 110.4, end: 110.4 });
  });

  it("ends a stride of decoding with its present step when somebody comes", () => {
    const { submit, run, events } = rig();
    const one = submit([0], 101);
    events.after(64, () => submit([1], 1));
    run();
    // First token at 59.2; steps of 8.1 end at 67.3: the newcomer's step is 8 + 51.2 + 0.1, then 98 of 8.1 remain.
    expect(one.log.first).toBe(59.2);
    expect(one.log.end).toBe(round(67.3 + 59.3 + 98 * 8.1));
  });

  it("finds leading blocks in its cache, also of a prompt that is still being computed, but never the last token", () => {
    const { submit, run } = rig();
    submit([0, 1, 2], 1);
    run();
    const same = submit([0, 1, 2], 1);
    const longer = submit([0, 1, 2, 60], 1);
    const otherwise = submit([0, 3, 2], 1);
    run();
    expect(same.log.cached).toBe(1_520);
    expect(longer.log.cached).toBe(1_536);
    expect(otherwise.log.cached).toBe(512);
  });

  it("pins what runs, so that what does not fit waits until something has ended", () => {
    const { submit, run, engine } = rig({ gpuTokens: 2_000 });
    const one = submit([0, 1], 100);
    const two = submit([2, 3], 100);
    run(120);
    expect([engine.running, engine.waiting]).toEqual([1, 1]);
    expect(engine.cacheUsage).toBeCloseTo(1_124 / 2_000);
    run();
    expect(two.log.first).toBeGreaterThan(one.log.end!);
  });

  it("forgets the least recently used blocks, the end of a prompt before its start", () => {
    const { submit, run } = rig({ gpuTokens: 2_600 });
    submit([0, 1], 1);
    run();
    submit([2, 3], 1);
    run();
    // Room for five blocks: of six, block 1 has to go.
    submit([4, 5], 1);
    run();
    const again = submit([0, 1, 2], 1);
    run();
    expect(again.log.cached).toBe(512);
  });

  it("keeps on the host what the GPU has no room for", () => {
    const { submit, run } = rig({ gpuTokens: 1_600, hostTokens: 1_024 });
    submit([0, 1], 1);
    run();
    submit([2, 3], 1);
    run();
    const again = submit([0, 1, 4], 1);
    run();
    expect(again.log.cached).toBe(1_024);
  });

  it("takes a killed engine's work and cache away, and slows down or stands still when told", () => {
    const { submit, run, engine, events } = rig();
    const lost = submit([0], 5);
    run(10);
    engine.restart();
    run();
    expect(lost.log.end).toBeUndefined();
    engine.slow(5);
    const from = events.nowMs;
    const slow = submit([0], 1);
    run();
    expect(slow.log.cached).toBe(0);
    expect(slow.log.first! - from).toBeCloseTo(5 * 59.2);
    engine.freeze(true);
    const frozen = submit([1], 1);
    run();
    expect(frozen.log.first).toBeUndefined();
    engine.freeze(false);
    run();
    expect(frozen.log.first).toBeDefined();
  });
});
