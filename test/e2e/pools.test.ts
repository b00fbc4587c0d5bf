import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { RETRY_FLOOR, RETRY_SHARE, SILENT_STREAM_MAX_MS } from "../../src/bounds.ts";
import { chat, entriesOf, faultRegion, newCase, replicasOf } from "../support/endings.ts";
import { live, meterFrom, stillHeld } from "../support/held.ts";
import { fill, idle, PATIENT, REGIONS, smallPlan } from "../support/small-pools.ts";
import { eventually, type TestStack, testStack } from "../support/stack.ts";

/** What the edge makes of pools: bands, deadlines, waiting, a second try. A second call: hedged.test.ts. */
const CHAT = "/v1/chat/completions";

let stack: TestStack;
beforeAll(async () => {
  stack = await testStack({ plan: smallPlan() });
});
afterAll(() => stack?.end());

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
    await idle(stack, "sim-chat");
    const letGo = await fill(stack, "sim-chat");
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
