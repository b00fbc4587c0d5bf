import { readFileSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { chat, codeOf, entriesOf, faultRegion, faultsPlan, newCase } from "../support/endings.ts";
import { meterFrom, stillHeld } from "../support/held.ts";
import { eventually, type TestStack, testStack } from "../support/stack.ts";

/**
 * A request's longest life. Fifteen minutes are too long for a test, so this edge is the built one with that single
 * number changed.
 */
const DEADLINE_MS = 1_500;
let stack: TestStack;
beforeAll(async () => {
  const plan = faultsPlan();
  stack = await testStack({ plan: { ...plan, regions: plan.regions.slice(0, 1) } });
  const bundle = join(dirname(dirname(stack.edge.spec.logFile)), "worker.js");
  const built = readFileSync(bundle, "utf8");
  const bound = /\bREQUEST_DEADLINE_MS = [^;]+;/g;
  expect(built.match(bound)).toHaveLength(1);
  writeFileSync(bundle, built.replace(bound, `REQUEST_DEADLINE_MS = ${DEADLINE_MS};`));
  const { restarts } = stack.edge;
  stack.edge.kill("SIGKILL");
  const ready = () =>
    fetch(`${stack.info.baseUrl}/ready`).then(({ ok }) => ok && stack.edge.restarts > restarts);
  expect(await eventually(() => ready().catch(() => false), Boolean)).toBe(true);
});
afterAll(() => stack?.end());

const MODES = [
  ["streamed", true],
  ["not streamed", false],
] as const;

describe.each(MODES)("the deadline of a request, %s", (_, stream) => {
  it.each([
    ["before the first token", 0],
    ["after five tokens", 5],
  ])("%s: the client is told, pays for what was made, and the engine is free", async (_when, afterTokens) => {
    const { marker, prompt } = newCase();
    await faultRegion(stack, "us-east", { stall: { afterTokens } }, marker);
    const meter = await meterFrom(stack);
    const fromMs = performance.now();
    const seen = await chat(stack, { prompt, stream });
    expect(performance.now() - fromMs).toBeGreaterThan(DEADLINE_MS - 100);
    expect(codeOf(seen)).toBe("deadline_exceeded");
    // A stream that has begun can only say it in its own format.
    const begun = stream && afterTokens > 0;
    expect(seen.status).toBe(begun ? 200 : 504);
    expect(seen.chunks > 0).toBe(begun);
    expect(seen.raw).not.toContain("[DONE]");
    const requestId = seen.headers.get("x-request-id")!;
    const [entry] = await eventually(
      () => entriesOf(stack, requestId),
      ([one]) => one?.aborted === true,
    );
    expect(entry!.state).toBe("aborted");
    expect(entry!.outputTokens).toBeGreaterThanOrEqual(afterTokens);
    expect(await stillHeld(stack)).toEqual([]);
    const promptTokens = afterTokens > 0 ? entry!.promptTokens : 0;
    expect(await meter.charged()).toEqual({ promptTokens, outputTokens: entry!.outputTokens });
  });
});
