import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type StackPlan, simulatedPlan } from "../../sim/stack/plan.ts";
import { HEDGE_SAMPLES_MIN, RETRY_FLOOR, RETRY_SHARE, SILENT_STREAM_MAX_MS } from "../../src/bounds.ts";
import { said } from "../support/carrying.ts";
import { chat, entriesOf, faultRegion, NEAR, newCase, type Region, replicasOf } from "../support/endings.ts";
import { live, meterFrom, stillHeld } from "../support/held.ts";
import { eventually, type TestStack, testStack } from "../support/stack.ts";

/** What the edge makes of pools: bands, deadlines, waiting, a second try, a second call. */
const REGIONS = Object.keys(NEAR) as Region[];
const PATIENT = "sim-patient";
const HEDGED = "sim-hedged";
const CHAT = "/v1/chat/completions";

let stack: TestStack;
beforeAll(async () => {
  stack = await testStack({ plan: smallPlan() });
});
afterAll(() => stack?.end());

/** One replica a region, which takes two requests of each model at once. */
function smallPlan(): StackPlan {
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

function ask(headers: Record<string, string>, body: Record<string, unknown> = {}): Promise<Response> {
  const messages = [{ role: "user", content: newCase(3).prompt }];
  return stack.post(CHAT, { model: "sim-chat", messages, ...body }, headers);
}

async function metric(name: string): Promise<number> {
  const { baseUrl, adminKey } = stack.info;
  const answer = await fetch(`${baseUrl}/metrics`, { headers: { authorization: `Bearer ${adminKey}` } });
  const lines = (await answer.text()).split("\n").filter((line) => line.startsWith(`${name} `));
  return lines.reduce((sum, line) => sum + Number(line.split(" ").at(-1)), 0);
}

/** No engine works, and every pool has heard so: just after its start a pool goes by what gates say. */
async function idle(model: string): Promise<void> {
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
async function fill(model: string): Promise<() => Promise<void>> {
  const taken = async () => (await Promise.all(REGIONS.map((pool) => inUse(pool, model)))).join();
  const streams: { leave(): void; readonly ended: Promise<void> }[] = [];
  for (const pool of REGIONS) {
    for (let tries = 0; tries < 10 && (await inUse(pool, model)) < 2; tries++) {
      const before = await taken();
      const stream = endless(model, pool);
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
function endless(model: string, from: Region): { leave(): void; readonly ended: Promise<void> } {
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

async function inUse(pool: string, model: string): Promise<number> {
  return (await live(stack, pool)).find((one) => one.model === model)!.state.inUse;
}

describe("x-meridian-priority", () => {
  it("is granted as far as the key allows, and every answer says what it was", async () => {
    const band = async (headers: Record<string, string>) =>
      (await ask(headers)).headers.get("x-meridian-priority");
    expect(await band({})).toBe("default");
    expect(await band({ "x-meridian-priority": "batch" })).toBe("batch");
    expect(await band({ "x-meridian-priority": "interactive" })).toBe("default");
    const settings = { priority: "interactive", defaultPriority: "batch" };
    const created = await stack.admin.must(201, "POST", `tenants/${stack.info.tenant.id}/keys`, settings);
    expect(created).toMatchObject(settings);
    const authorization = `Bearer ${(created as { key: string }).key}`;
    expect(await band({ authorization })).toBe("batch");
    expect(await band({ authorization, "x-meridian-priority": "interactive" })).toBe("interactive");
  });

  it.each([
    ["x-meridian-priority", "first"],
    ["x-meridian-deadline-ms", "tomorrow"],
  ])("%s: %s is the client's mistake", async (header, value) => {
    const response = await ask({ [header]: value });
    expect(response.status).toBe(400);
    expect(await response.json()).toMatchObject({
      error: { type: "invalid_request_error", code: "invalid_value", param: header },
    });
  });
});

describe("x-meridian-deadline-ms", () => {
  it("that no pool can make is refused at once, with a time to come back; without it the request waits", async () => {
    // Pools learn how long a place is taken.
    const two = REGIONS.flatMap((from) => [from, from]);
    await Promise.all(two.map((from) => chat(stack, { prompt: newCase(200).prompt, stream: true, from })));
    await idle("sim-chat");
    const letGo = await fill("sim-chat");
    const fromMs = Date.now();
    const refused = await ask({ "x-meridian-deadline-ms": "100" });
    const tookMs = Date.now() - fromMs;
    const waiting = ask({});
    const queued = async () =>
      (await Promise.all(REGIONS.map((pool) => live(stack, pool))))
        .flat()
        .filter(({ state }) => state.waiting > 0);
    const held = await eventually(queued, (pools) => pools.length === 1);
    await letGo();
    expect(held).toHaveLength(1);
    expect(tookMs).toBeLessThan(3_000);
    expect(refused.status).toBe(503);
    const told = (await refused.json()) as { error: { code: string; message: string } };
    expect(told.error.code).toBe("server_is_overloaded");
    expect(told.error.message).toContain("within 100 ms");
    const retryAfterMs = Number(refused.headers.get("retry-after-ms"));
    expect(retryAfterMs).toBeGreaterThan(0);
    expect(Number(refused.headers.get("retry-after"))).toBe(Math.max(1, Math.ceil(retryAfterMs / 1_000)));

    const served = await waiting;
    expect(served.status).toBe(200);
    await served.text();
    expect(await stillHeld(stack)).toEqual([]);
  });
});

describe("a first token that takes its time", () => {
  it("keeps streams with comments that no SDK sees; then comes an answer, or a refusal that costs nothing", async () => {
    const [late, refusal] = [newCase().marker, newCase().marker];
    const faults = {
      slowHeaders: { ms: SILENT_STREAM_MAX_MS + 2_000, match: late },
      status: { code: 400, match: refusal },
    };
    await Promise.all(
      REGIONS.flatMap((region) => replicasOf(stack, region)).map(({ id }) => stack.fault(id, faults)),
    );
    const meter = await meterFrom(stack);
    // Both wait at the same time.
    const [answered, refused] = await Promise.all(
      [late, `${late} ${refusal}`].map((text) =>
        chat(stack, { prompt: `${text} [len=5]`, stream: true, model: PATIENT }),
      ),
    );
    for (const seen of [answered!, refused!]) {
      expect(seen.status).toBe(200);
      expect(seen.raw.startsWith(": waiting\n\n")).toBe(true);
    }
    expect(await metric('meridian_bridged_total{form="stream"}')).toBe(2);
    expect(answered!.error).toBeNull();
    expect(answered!.raw.trimEnd().endsWith("data: [DONE]")).toBe(true);
    expect(answered!.finishReason).toBe("stop");
    expect(answered!.text.length).toBeGreaterThan(5);
    expect(refused!.error).toBeInstanceOf(Error);
    expect(refused!.raw).not.toContain("[DONE]");
    expect(await stillHeld(stack)).toEqual([]);
    const [paid] = await entriesOf(stack, answered!.headers.get("x-request-id")!);
    const { promptTokens, outputTokens } = paid!;
    expect(outputTokens).toBeGreaterThan(0);
    expect(await meter.charged()).toEqual({ promptTokens, outputTokens });
  });
});

describe("a hedged model", () => {
  it("calls a second replica when the first token is late, and the client pays for one answer", async () => {
    // What is late is known from what came before.
    await idle(HEDGED);
    let known = 0;
    for (let round = 0; round < 120 && known <= HEDGE_SAMPLES_MIN; round++) {
      const seen = await chat(stack, { prompt: newCase(2).prompt, stream: true, model: HEDGED });
      if (seen.headers.get("x-meridian-region") === "us-east") known += 1;
    }
    expect(await stillHeld(stack)).toEqual([]);
    for (const [slowMs, winner] of [
      [{ "us-east": 4_000, "eu-west": 0 }, "eu-west"],
      [{ "us-east": 1_000, "eu-west": 6_000 }, "us-east"],
    ] as const) {
      const { marker, prompt } = newCase(40);
      for (const [region, ms] of Object.entries(slowMs)) {
        if (ms > 0) await faultRegion(stack, region, { slowHeaders: { ms } }, marker);
      }
      const meter = await meterFrom(stack);
      const seen = await chat(stack, { prompt, stream: true, model: HEDGED });
      expect(seen.error).toBeNull();
      expect(seen.finishReason).toBe("stop");
      expect(seen.headers.get("x-meridian-region")).toBe(winner);
      expect(seen.headers.get("x-meridian-attempts")).toBe("2");
      expect(await stillHeld(stack)).toEqual([]);
      const entries = await entriesOf(stack, seen.headers.get("x-request-id")!);
      expect(entries).toHaveLength(2);
      const served = entries.find(({ replica }) => replica === `${winner}-0`)!;
      const lost = entries.find((entry) => entry !== served)!;
      expect(served).toMatchObject({ state: "finished", aborted: false });
      expect(lost.state).not.toBe("finished");
      const { promptTokens, outputTokens } = served;
      expect(await meter.becomes({ promptTokens, outputTokens })).toEqual({ promptTokens, outputTokens });
    }
    // Those that taught what is late may have been late themselves.
    expect(await metric('meridian_hedges_total{won="second"}')).toBeGreaterThanOrEqual(1);
    expect(await metric('meridian_hedges_total{won="first"}')).toBeGreaterThanOrEqual(1);
  });
});

describe("a stream that breaks off", () => {
  const streamed = (model: string, prompt: string, more: RequestInit = {}) => {
    const messages = [{ role: "user", content: prompt }];
    const body = { model, messages, temperature: 0, stream: true, stream_options: { include_usage: true } };
    const headers = {
      authorization: `Bearer ${stack.info.tenant.key}`,
      ...{ "content-type": "application/json", "x-meridian-dev-location": NEAR["us-east"] },
    };
    return fetch(stack.info.baseUrl + CHAT, {
      ...{ method: "POST", headers, body: JSON.stringify(body) },
      ...more,
    });
  };

  it("after it was hedged goes on as a third attempt, and the client pays for one answer", async () => {
    for (const [slowMs, winner] of [
      [{ "us-east": 4_000, "eu-west": 0 }, "eu-west"],
      [{ "us-east": 1_000, "eu-west": 6_000 }, "us-east"],
    ] as const) {
      const { marker, prompt } = newCase(60);
      const cut = { afterTokens: 7 };
      for (const [region, ms] of Object.entries(slowMs)) {
        const slow = ms > 0 ? { slowHeaders: { ms } } : {};
        const faults = region === winner ? { ...slow, cut } : slow;
        await faultRegion(stack, region, faults, marker);
      }
      const meter = await meterFrom(stack);
      const response = await streamed(HEDGED, prompt);
      const seen = said(await response.text());
      expect(response.headers.get("x-meridian-region")).toBe(winner);
      expect(response.headers.get("x-meridian-attempts")).toBe("2");
      expect(await stillHeld(stack)).toEqual([]);
      const entries = await entriesOf(stack, response.headers.get("x-request-id")!);
      expect(entries).toHaveLength(3);
      expect(entries.find(({ replica }) => replica === `${winner}-0`)).toMatchObject({ state: "failed" });
      for (const region of REGIONS) await faultRegion(stack, region, {}, marker);
      const [promptTokens, outputTokens] = seen.usage as number[];
      expect(await meter.becomes({ promptTokens: promptTokens!, outputTokens: outputTokens! })).toEqual({
        promptTokens,
        outputTokens,
      });
      // The same question undisturbed.
      expect(seen).toEqual(said(await (await streamed("sim-chat", prompt)).text()));
      expect(await stillHeld(stack)).toEqual([]);
    }
  });

  it("and whose client leaves in the pause holds nothing any more, and costs what was delivered", async () => {
    const { marker, prompt } = newCase(60);
    const cut = { cut: { afterTokens: 7 } };
    for (const region of REGIONS) {
      await faultRegion(stack, region, region === "us-east" ? cut : { slowHeaders: { ms: 8_000 } }, marker);
    }
    const meter = await meterFrom(stack);
    const leaving = new AbortController();
    const response = await streamed(PATIENT, prompt, { signal: leaving.signal });
    const reader = response.body!.getReader();
    let raw = "";
    const read = async () => {
      for (;;) {
        const { value, done } = await reader.read();
        if (done) return;
        raw += new TextDecoder().decode(value);
      }
    };
    const reading = read().catch(() => undefined);
    await eventually(
      async () => raw,
      (text) => text.includes(": meridian "),
    );
    await new Promise((resolve) => setTimeout(resolve, 1_500));
    leaving.abort();
    await reading;
    const leftMs = Date.now();
    expect(await stillHeld(stack)).toEqual([]);
    expect(Date.now() - leftMs).toBeLessThan(8_000);
    for (const region of REGIONS) await faultRegion(stack, region, {}, marker);
    const told = JSON.parse(raw.slice(raw.indexOf(": meridian ") + 11).split("\n")[0]!);
    const { promptTokens, outputTokens } = told;
    expect(await meter.becomes({ promptTokens, outputTokens })).toEqual({ promptTokens, outputTokens });
  });
});

describe("a stream that breaks off while every pool is full", () => {
  it("goes on as soon as one has room, as if nothing had happened", async () => {
    await idle(PATIENT);
    const { marker, prompt } = newCase(700);
    await faultRegion(stack, "us-east", { cut: { afterTokens: 650 } }, marker);
    const messages = [{ role: "user", content: prompt }];
    const body = { messages, temperature: 0, stream: true, stream_options: { include_usage: true } };
    const asked = (model: string) =>
      stack.post(CHAT, { model, ...body }, { "x-meridian-dev-location": NEAR["us-east"] });
    const response = await asked(PATIENT);
    expect(response.headers.get("x-meridian-region")).toBe("us-east");
    let raw = "";
    const reading = (async () => {
      for await (const piece of response.body!) raw += new TextDecoder().decode(piece);
    })();
    const letGo = await fill(PATIENT);
    await eventually(
      async () => raw.includes(": meridian "),
      (isCut) => isCut,
      20_000,
    );
    const hadChars = raw.length;
    await new Promise((resolve) => setTimeout(resolve, 2_000));
    expect(raw.length).toBe(hadChars);
    await letGo();
    await reading;
    await faultRegion(stack, "us-east", {}, marker);
    expect(said(raw)).toEqual(said(await (await asked("sim-chat")).text()));
    expect(await stillHeld(stack)).toEqual([]);
  });
});

// Last: breakers are open after it.
describe("a failure everywhere", () => {
  it("is retried within the budget, and the others are told at once", async () => {
    const { marker, prompt } = newCase(3);
    for (const region of REGIONS) await faultRegion(stack, region, { status: { code: 500 } }, marker);
    const REQUESTS = 60;
    const asks = Array.from({ length: REQUESTS }, () => chat(stack, { prompt, stream: false }));
    const seen = await Promise.all(asks);
    expect(seen.filter(({ status }) => status < 500)).toEqual([]);
    const attempts = seen.map(({ headers }) => Number(headers.get("x-meridian-attempts") ?? 1));
    const retries = attempts.reduce((sum, count) => sum + count - 1, 0);
    // Requests of the tests before are at most a window of these.
    expect(retries).toBeLessThanOrEqual(RETRY_FLOOR + RETRY_SHARE * 2 * REQUESTS);
    expect(retries).toBeGreaterThan(0);
    expect(await stillHeld(stack)).toEqual([]);
  });
});
