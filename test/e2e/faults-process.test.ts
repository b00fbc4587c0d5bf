import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import type { Child } from "../../sim/stack/child.ts";
import {
  chat,
  codeOf,
  entriesOf,
  faultRegion,
  faultsPlan,
  newCase,
  QUICK,
  replicasOf,
} from "../support/endings.ts";
import { heal, live, meterFrom, stillHeld } from "../support/held.ts";
import { eventually, type TestStack, testStack } from "../support/stack.ts";

/** Processes that die, freeze or leave while requests run on them. */
let stack: TestStack;
let healersKey: string;
beforeAll(async () => {
  stack = await testStack({ plan: faultsPlan() });
  healersKey = await stack.tenant("healer", {});
});
afterAll(() => stack?.end());
afterEach(() => heal(stack, healersKey));

const MODES = [
  ["streamed", true],
  ["not streamed", false],
] as const;

async function killed(child: Child): Promise<void> {
  const { pid } = child;
  child.kill("SIGKILL");
  await eventually(async () => child.pid !== pid || !isAlive(pid!), Boolean);
}

function isAlive(pid: number): boolean {
  try {
    return process.kill(pid, 0);
  } catch {
    return false;
  }
}

async function usable(region: string): Promise<number> {
  const chatState = (await live(stack, region)).find(({ model }) => model === "sim-chat")!.state;
  return chatState.replicas.filter((replica) => replica.usable).length;
}

describe.each(MODES)("a replica that dies, %s", (_, stream) => {
  it("before the first token, and the next one too: the request may be why, and goes no further", async () => {
    const { marker, prompt } = newCase();
    await faultRegion(stack, "us-east", { die: { afterTokens: 0 } }, marker);
    const meter = await meterFrom(stack);
    const seen = await chat(stack, { prompt, stream });
    expect([seen.status, codeOf(seen)]).toEqual([502, "origin_failed"]);
    expect(seen.headers.get("x-meridian-attempts")).toBe("2");
    await heal(stack, healersKey);
    expect(await stillHeld(stack)).toEqual([]);
    expect(await meter.charged()).toEqual({ promptTokens: 0, outputTokens: 0 });
  });
});

describe("a replica that dies in the middle", () => {
  it("streamed: the client is told, and pays for the tokens that it got", async () => {
    const { marker, prompt } = newCase();
    await faultRegion(stack, "us-east", { die: { afterTokens: 9 } }, marker);
    const meter = await meterFrom(stack);
    const seen = await chat(stack, { prompt, stream: true, continuousUsage: true });
    expect(codeOf(seen)).toBe("stream_broken");
    expect(seen.raw).not.toContain("[DONE]");
    // The ledger died with its replica: what the client was told is what there is.
    expect(seen.usage!.completion_tokens).toBeGreaterThan(0);
    await heal(stack, healersKey);
    expect(await stillHeld(stack)).toEqual([]);
    expect(await meter.charged()).toEqual({
      promptTokens: seen.usage!.prompt_tokens,
      outputTokens: seen.usage!.completion_tokens,
    });
  });

  it("not streamed: another makes the answer, and only that one is paid", async () => {
    const ids = replicasOf(stack, "us-east").map(({ id }) => id);
    // One of them dies: which gets the request is the pool's to say, so now the one is prepared and now the other.
    for (let time = 0; ; time++) {
      const { marker, prompt } = newCase();
      const victim = ids[time % ids.length]!;
      await stack.fault(victim, { die: { afterTokens: 9, match: marker } });
      const meter = await meterFrom(stack);
      const seen = await chat(stack, { prompt, stream: false });
      expect(seen).toMatchObject({ error: null, status: 200, finishReason: "stop" });
      const again = seen.headers.get("x-meridian-attempts") === "2";
      await heal(stack, healersKey);
      if (!again && time < 7) continue;
      expect(again).toBe(true);
      expect(await stillHeld(stack)).toEqual([]);
      expect(await meter.charged()).toEqual({
        promptTokens: seen.usage!.prompt_tokens,
        outputTokens: seen.usage!.completion_tokens,
      });
      return;
    }
  });

  it("not streamed, twice: nobody gets it any more, and nothing is paid", async () => {
    const { marker, prompt } = newCase();
    await faultRegion(stack, "us-east", { die: { afterTokens: 9 } }, marker);
    const meter = await meterFrom(stack);
    const seen = await chat(stack, { prompt, stream: false });
    expect([seen.status, codeOf(seen)]).toEqual([502, "origin_failed"]);
    expect(seen.headers.get("x-meridian-attempts")).toBe("2");
    await heal(stack, healersKey);
    expect(await stillHeld(stack)).toEqual([]);
    expect(await meter.charged()).toEqual({ promptTokens: 0, outputTokens: 0 });
  });
});

describe.each(MODES)("a replica that freezes while its health check answers, %s", (_, stream) => {
  it("before the first token: the next region serves", async () => {
    for (const { id } of replicasOf(stack, "us-east")) await stack.fault(id, { freeze: {} });
    const meter = await meterFrom(stack);
    const seen = await chat(stack, { prompt: newCase().prompt, stream, model: QUICK });
    expect(seen).toMatchObject({ error: null, status: 200, finishReason: "stop" });
    expect(seen.headers.get("x-meridian-region")).toBe("eu-west");
    expect(seen.headers.get("x-meridian-attempts")).toBe("3");
    const entries = await entriesOf(stack, seen.headers.get("x-request-id")!);
    const { promptTokens, outputTokens } = entries.find(({ replica }) => replica === "eu-west-0")!;
    await heal(stack, healersKey);
    expect(await stillHeld(stack)).toEqual([]);
    expect(await meter.charged()).toEqual({ promptTokens, outputTokens });
  });
});

it("a replica that freezes in the middle of a stream: the client is told, and pays for what it got", async () => {
  const meter = await meterFrom(stack);
  const seen = await chat(stack, {
    prompt: newCase(2_000).prompt,
    stream: true,
    model: QUICK,
    from: "eu-west",
    onChunk: async (chunks) => {
      if (chunks === 4) await stack.fault("eu-west-0", { freeze: {} });
      return false;
    },
  });
  expect(codeOf(seen)).toBe("stream_broken");
  expect(seen.chunks).toBeGreaterThanOrEqual(4);
  expect(seen.raw).not.toContain("[DONE]");
  const [entry] = await entriesOf(stack, seen.headers.get("x-request-id")!);
  const { promptTokens, outputTokens } = entry!;
  expect(await meter.becomes({ promptTokens, outputTokens })).toEqual({ promptTokens, outputTokens });
  await stack.fault("eu-west-0", {});
  expect(await stillHeld(stack)).toEqual([]);
});

describe("no replica anywhere is healthy", () => {
  it("is a 503 that says when to come back, on both paths", async () => {
    for (const { id } of stack.info.regions.flatMap(({ replicas }) => replicas))
      await stack.fault(id, { unhealthy: {} });
    const count = async () =>
      (await Promise.all(stack.info.regions.map(({ name }) => usable(name)))).reduce((sum, n) => sum + n, 0);
    expect(await eventually(count, (left) => left === 0)).toBe(0);
    const meter = await meterFrom(stack);
    for (const [, stream] of MODES) {
      const seen = await chat(stack, { prompt: newCase().prompt, stream });
      expect(seen.status).toBe(503);
      expect(codeOf(seen)).toBe("server_is_overloaded");
      expect(Number(seen.headers.get("retry-after"))).toBeGreaterThan(0);
    }
    expect(await stillHeld(stack)).toEqual([]);
    expect(await meter.charged()).toEqual({ promptTokens: 0, outputTokens: 0 });
  });
});

describe("a gate that is killed", () => {
  it.each(MODES)("before the call, %s: the next region serves at once", async (_, stream) => {
    const meter = await meterFrom(stack);
    await killed(stack.gates.get("us-east")!);
    const seen = await chat(stack, { prompt: newCase().prompt, stream });
    expect(seen).toMatchObject({ error: null, status: 200, finishReason: "stop" });
    expect(seen.headers.get("x-meridian-region")).toBe("eu-west");
    expect(seen.headers.get("x-meridian-attempts")).toBe("2");
    expect(await stillHeld(stack)).toEqual([]);
    const [entry] = await entriesOf(stack, seen.headers.get("x-request-id")!);
    const { promptTokens, outputTokens } = entry!;
    expect(await meter.charged()).toEqual({ promptTokens, outputTokens });
  });

  it("in the middle of a stream: the client is told, the engine is free, the slot is free", async () => {
    const key = await stack.tenant("gate-victim", { concurrentRequests: 1 });
    const seen = await chat(stack, {
      prompt: newCase(2_000).prompt,
      stream: true,
      key,
      onChunk: async (chunks) => {
        if (chunks === 4) await killed(stack.gates.get("us-east")!);
        return false;
      },
    });
    expect(codeOf(seen)).toBe("stream_broken");
    expect(seen.chunks).toBeGreaterThanOrEqual(4);
    expect(seen.raw).not.toContain("[DONE]");
    const requestId = seen.headers.get("x-request-id")!;
    const [entry] = await eventually(
      () => entriesOf(stack, requestId),
      ([one]) => one?.aborted === true,
    );
    expect(entry).toMatchObject({ state: "aborted" });
    // Its last report is lost: what it held comes back when its silence is noticed, its place at once.
    const { open, totals } = await stack.usage("gate-victim");
    expect(open).toMatchObject({ reservations: 1, running: 0 });
    expect(totals.outputTokens).toBeLessThanOrEqual(entry!.outputTokens);
    expect(await stillHeld(stack)).toEqual([]);
    const next = await chat(stack, { prompt: newCase().prompt, stream: true, key });
    expect(next).toMatchObject({ error: null, finishReason: "stop" });
  });

  it("while it makes one JSON: another makes the answer, and only that one is paid", async () => {
    const { marker, prompt } = newCase();
    await faultRegion(stack, "us-east", { stall: { afterTokens: 6 } }, marker);
    const meter = await meterFrom(stack);
    const answer = chat(stack, { prompt, stream: false });
    const begun = async () =>
      (await stack.ledgers()).entries.find(
        ({ state, outputTokens }) => state === "running" && outputTokens >= 6,
      );
    expect(await eventually(begun, (entry) => entry !== undefined)).toBeDefined();
    await killed(stack.gates.get("us-east")!);
    const seen = await answer;
    expect(seen).toMatchObject({ error: null, status: 200, finishReason: "stop" });
    expect(seen.headers.get("x-meridian-region")).toBe("eu-west");
    expect(await stillHeld(stack)).toEqual([]);
    expect(await meter.charged()).toEqual({
      promptTokens: seen.usage!.prompt_tokens,
      outputTokens: seen.usage!.completion_tokens,
    });
  });
});

// Last, because a gate remembers for 30 s that a replica drains.
describe.each([
  ["streamed", true, "ap-southeast"],
  ["not streamed", false, "eu-west"],
] as const)("a replica that drains, %s", (_, stream, region) => {
  it("answers 500 while it claims health: the request moves on, and no breaker opens", async () => {
    const { marker, prompt } = newCase();
    await faultRegion(stack, region, { drain: {} }, marker);
    const meter = await meterFrom(stack);
    const seen = await chat(stack, { prompt, stream, from: region });
    expect(seen).toMatchObject({ error: null, status: 200, finishReason: "stop" });
    expect(seen.headers.get("x-meridian-attempts")).toBe("2");
    expect(seen.headers.get("x-meridian-region")).not.toBe(region);
    expect(
      await eventually(
        () => usable(region),
        (left) => left === 0,
      ),
    ).toBe(0);
    const [replica] = (await live(stack, region))[0]!.state.replicas;
    expect(replica).toMatchObject({ state: "draining", breaker: "closed" });
    expect(await stillHeld(stack)).toEqual([]);
    const entries = await entriesOf(stack, seen.headers.get("x-request-id")!);
    const { promptTokens, outputTokens } = entries.find(({ state }) => state === "finished")!;
    expect(await meter.charged()).toEqual({ promptTokens, outputTokens });
    // Another process of it is not the one that drains.
    await killed(stack.replicas.get(`${region}-0`)!);
  });
});
