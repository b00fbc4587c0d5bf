import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { HEDGE_SAMPLES_MIN } from "../../src/bounds.ts";
import { said } from "../support/carrying.ts";
import { chat, entriesOf, faultRegion, NEAR, newCase } from "../support/endings.ts";
import { meterFrom, stillHeld } from "../support/held.ts";
import { fill, HEDGED, idle, PATIENT, REGIONS, smallPlan } from "../support/small-pools.ts";
import { eventually, type TestStack, testStack } from "../support/stack.ts";

/** A second call for the same answer, and streams that break off after it, in the pause, and where no pool has room. */
const CHAT = "/v1/chat/completions";

let stack: TestStack;
beforeAll(async () => {
  stack = await testStack({ plan: smallPlan() });
});
afterAll(() => stack?.end());

async function metric(name: string): Promise<number> {
  const { baseUrl, adminKey } = stack.info;
  const answer = await fetch(`${baseUrl}/metrics`, { headers: { authorization: `Bearer ${adminKey}` } });
  const lines = (await answer.text()).split("\n").filter((line) => line.startsWith(`${name} `));
  return lines.reduce((sum, line) => sum + Number(line.split(" ").at(-1)), 0);
}

describe("a hedged model", () => {
  it("calls a second replica when the first token is late, and the client pays for one answer", async () => {
    // What is late is known from what came before.
    await idle(stack, HEDGED);
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
    await idle(stack, PATIENT);
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
    const letGo = await fill(stack, PATIENT);
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
