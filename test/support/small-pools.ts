import { expect } from "vitest";
import { type StackPlan, simulatedPlan } from "../../sim/stack/plan.ts";
import { NEAR, newCase, type Region } from "./endings.ts";
import { live } from "./held.ts";
import { eventually, type TestStack } from "./stack.ts";

/** Pools so small that a test can fill them. */

export const REGIONS = Object.keys(NEAR) as Region[];
export const PATIENT = "sim-patient";
export const HEDGED = "sim-hedged";

/** One replica a region, which takes two requests of each model at once. */
export function smallPlan(): StackPlan {
  const plan = simulatedPlan(1);
  const like = { kind: "generate", servedName: "sim-chat", contextTokens: 32_768 } as const;
  return {
    models: [
      ...plan.models,
      { ...like, id: PATIENT, firstTokenTimeoutMs: 60_000 },
      { ...like, id: HEDGED, firstTokenTimeoutMs: 60_000, hedge: true },
    ],
    regions: plan.regions.map((region) => ({ ...region, concurrencyPerReplica: 2 })),
  };
}

/** No engine works, and every pool has heard so: just after its start a pool goes by what gates say. */
export async function idle(stack: TestStack, model: string): Promise<void> {
  const busy = async () => {
    const states = await Promise.all(REGIONS.map((pool) => live(stack, pool)));
    const replicas = states
      .flat()
      .filter((one) => one.model === model)
      .flatMap(({ state }) => state.replicas);
    return replicas.some((replica) => (replica as { running?: number }).running !== 0);
  };
  expect(await eventually(busy, (is) => !is)).toBe(false);
}

/** Streams that take up all places of a model everywhere, until they are let go. */
export async function fill(stack: TestStack, model: string): Promise<() => Promise<void>> {
  const taken = async () => (await Promise.all(REGIONS.map((pool) => inUse(stack, pool, model)))).join();
  const streams: { leave(): void; readonly ended: Promise<void> }[] = [];
  for (const pool of REGIONS) {
    for (let tries = 0; tries < 10 && (await inUse(stack, pool, model)) < 2; tries++) {
      const before = await taken();
      const stream = endless(stack, model, pool);
      // One that is held elsewhere instead is not what is wanted here.
      if ((await eventually(taken, (now) => now !== before, 2_000)) === before) stream.leave();
      else streams.push(stream);
    }
  }
  const letGo = async () => {
    for (const { leave } of streams) leave();
    await Promise.all(streams.map(({ ended }) => ended));
  };
  if ((await taken()) !== "2,2,2") {
    await letGo();
    throw new Error(`not all places are taken: ${await taken()}`);
  }
  return letGo;
}

/** A stream that goes on until its client leaves. */
function endless(
  stack: TestStack,
  model: string,
  from: Region,
): { leave(): void; readonly ended: Promise<void> } {
  const leaving = new AbortController();
  const messages = [{ role: "user" as const, content: `${newCase().marker} [len=8000]` }];
  const read = async () => {
    const client = stack.openai({ location: NEAR[from] });
    const { signal } = leaving;
    try {
      for await (const _ of await client.chat.completions.create(
        { model, messages, stream: true },
        { signal },
      ));
    } catch {
      // Let go.
    }
  };
  return { leave: () => leaving.abort(), ended: read() };
}

async function inUse(stack: TestStack, pool: string, model: string): Promise<number> {
  return (await live(stack, pool)).find((one) => one.model === model)!.state.inUse;
}
