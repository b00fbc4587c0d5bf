import { afterAll, beforeAll, expect, test } from "vitest";
import { eventually, type TestStack, testStack } from "../support/stack.ts";

let stack: TestStack;
beforeAll(async () => {
  stack = await testStack({ simArgs: ["--speed", "8"] });
});
afterAll(() => stack?.end());

/** Beside us-east; on one machine, a way to anywhere else would be faster than light, and is not believed. */
const LOCATION = "NA/39/-77.5";

interface Told {
  readonly candidates: readonly {
    readonly pool: string;
    readonly rtt: {
      readonly measuredMs: number | null;
      readonly samples: number;
      readonly expectedMs: number;
    };
  }[];
}

async function chat(location: string): Promise<Headers> {
  const body = { model: "sim-chat", max_tokens: 4, messages: [{ role: "user", content: `hi ${location}` }] };
  const answer = await stack.post("/v1/chat/completions", body, { "x-meridian-dev-location": location });
  await answer.text();
  expect(answer.status).toBe(200);
  return answer.headers;
}

test("relayed requests measure the way to their region, and explain shows it", async () => {
  for (let request = 0; request < 10; request++) {
    const headers = await chat(LOCATION);
    expect(headers.get("x-meridian-route")).toBe(
      `fastest;from=coordinates;rtt=${routeRtt(headers)};place=1;of=3`,
    );
    expect(headers.has("x-meridian-gate-ms")).toBe(false);
  }
  const of = async () => {
    await chat(LOCATION);
    const path = `explain?model=sim-chat&location=${LOCATION}`;
    const { candidates } = (await stack.admin.must(200, "GET", path)) as Told;
    return candidates.find(({ pool }) => pool === "us-east")!.rtt;
  };
  const { measuredMs, samples } = await eventually(of, ({ samples }) => samples >= 5);
  expect(samples).toBeGreaterThanOrEqual(5);
  expect(measuredMs).toBeGreaterThanOrEqual(0);
});

function routeRtt(headers: Headers): string {
  return /rtt=(\d+)/.exec(headers.get("x-meridian-route") ?? "")?.[1] ?? "none";
}
