import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { simulatedPlan } from "../../sim/stack/plan.ts";
import { eventually, type TestStack, testStack } from "../support/stack.ts";

/** Requests that kill each engine they meet: two die, and then the request is refused, everywhere and for a time. */
let stack: TestStack;
beforeAll(async () => {
  stack = await testStack({ plan: simulatedPlan(1), simArgs: ["--speed", "2"] });
});
afterAll(() => stack?.end());
afterEach(async () => {
  for (const id of replicas()) await eventually(() => cleared(id), Boolean, 20_000);
});

const NEAR = "NA/40/-75";
const FAR = "AS/2/104";
const replicas = () => stack.info.regions.flatMap(({ replicas }) => replicas.map(({ id }) => id));
const cleared = (id: string) =>
  stack.fault(id, {}).then(
    () => true,
    () => false,
  );

interface Entry {
  readonly fingerprint: string;
  readonly state: string;
  readonly offences: number;
}

async function entries(): Promise<readonly Entry[]> {
  return ((await stack.admin.must(200, "GET", "quarantine")) as { data: Entry[] }).data;
}

const held = async () => (await entries()).filter(({ state }) => state === "held");

function deaths(): number {
  return [...stack.replicas.values()].reduce((sum, { restarts }) => sum + restarts, 0);
}

/** All regions serve, as the edge sees it: what was killed is back. */
async function allServe(): Promise<void> {
  const usable = async () => {
    const answer = await fetch(`${stack.info.baseUrl}/ready`);
    return ((await answer.json()) as { usable?: number }).usable;
  };
  expect(await eventually(usable, (count) => count === 6, 40_000)).toBe(6);
}

let marker = 0;

async function ask(
  text: string,
  more: object,
  location = NEAR,
): Promise<{ status: number; headers: Headers; text: string }> {
  const body = { model: "sim-chat", temperature: 0, messages: [{ role: "user", content: text }], ...more };
  const response = await stack.post("/v1/chat/completions", body, { "x-meridian-dev-location": location });
  const { status, headers } = response;
  return { status, headers, text: await response.text().catch(String) };
}

describe.each([
  ["a stream, before its first token", 0, { stream: true }, 1],
  ["a stream, in the middle", 7, { stream: true }, 1],
  ["one JSON, in the middle", 7, {}, 1],
  ["a stream that cannot be carried on, in the middle", 7, { stream: true, logprobs: true }, 2],
  ["one JSON that the engine makes as a whole, in the middle", 7, { logprobs: true }, 1],
])("%s", (_name, afterTokens, more, asks) => {
  it("kills two of three, is refused everywhere, and goes again when it is released", async () => {
    marker += 1;
    const match = `case ${marker};`;
    const text = `${match} 灯塔 [len=60]`;
    await allServe();
    const before = deaths();
    for (const id of replicas()) await stack.fault(id, { die: { afterTokens, match } });
    for (let time = 0; time < asks; time++) {
      const broken = await ask(text, more);
      expect(broken.status === 200 ? broken.text : "").not.toContain("[DONE]");
    }
    expect(
      await eventually(
        async () => deaths() - before,
        (count) => count >= 2,
      ),
    ).toBe(2);
    const [entry, ...others] = await eventually(held, (found) => found.length > 0);
    expect([entry?.offences, others]).toEqual([1, []]);
    if (asks > 1) await everywhere();
    for (const location of [NEAR, FAR]) {
      const refused = await ask(
        text,
        { ...more, user: `another ${location}`, seed: 7, temperature: 0 },
        location,
      );
      expect([refused.status, refused.headers.get("x-should-retry")]).toEqual([422, "false"]);
      expect(JSON.parse(refused.text).error.code).toBe("request_quarantined");
    }
    expect((await ask("Something else. [len=3]", {})).status).toBe(200);
    expect(deaths() - before).toBe(2);
    for (const id of replicas()) await eventually(() => cleared(id), Boolean, 20_000);
    await stack.admin.must(204, "DELETE", `quarantine/${entry!.fingerprint}`);
    const again = await eventually(
      () => ask(text, more),
      ({ status }) => status === 200,
      20_000,
    );
    expect(again.status).toBe(200);
    expect(await held()).toEqual([]);
    const audit = (await stack.admin.must(200, "GET", "audit")) as {
      data: { action: string; target: string }[];
    };
    const actions = audit.data.filter(({ target }) => target === `quarantine/${entry!.fingerprint}`);
    expect(actions.map(({ action }) => action)).toEqual(["quarantine.release", "quarantine.hold"]);
  }, 120_000);
});

/** The verdict travels with the catalogue: any traffic fetches it. */
async function everywhere(): Promise<void> {
  const untilMs = Date.now() + 8_000;
  while (Date.now() < untilMs) {
    for (const location of [NEAR, FAR]) await ask("Hello. [len=2]", {}, location);
    await new Promise((resolve) => setTimeout(resolve, 500));
  }
}
