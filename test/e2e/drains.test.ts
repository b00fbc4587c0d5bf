import { afterAll, afterEach, beforeAll, expect, it } from "vitest";
import { ask, type Got } from "../../sim/chaos/clients.ts";
import type { Request } from "../../sim/chaos/work.ts";
import { type Replica, startReplica } from "../../sim/origin/replica.ts";
import { simulatedPlan } from "../../sim/stack/plan.ts";
import { eventually, type TestStack, testStack } from "../support/stack.ts";

/** What is taken out of service loses no stream: it finishes, or is handed over, and is paid for once. */
let stack: TestStack;
let calm: Replica;
beforeAll(async () => {
  stack = await testStack({ plan: simulatedPlan(1), simArgs: ["--shutdown-timeout", "2"] });
  calm = await startReplica({ speed: 1_000 });
});
afterEach(async () => {
  for (const pool of ["us-east", "eu-west"]) await drain(pool, false);
  const explained = () => stack.admin.call("GET", "explain?model=sim-chat&location=NA/40/-75");
  const { body } = await eventually(explained, ({ body }) => !JSON.stringify(body).includes('"drained"'));
  expect(JSON.stringify(body)).not.toContain('"drained"');
});
afterAll(async () => {
  await stack?.end();
  await calm?.close();
});

let index = 0;

/** Eight seconds of text, where `tokens` is 900. A gate may hear of its pool's drain as late as six seconds after it. */
function request(endpoint: Request["endpoint"], tokens: number, stream = true): Request {
  index += 1;
  const text = `${index}: 请写一首关于灯塔、海与渡船的长诗 😀🚢 \`const x = [1];\` [len=${tokens}]`;
  const rest = { index, round: 0, maxTokens: 4_000, location: "NA/40/-75", startMs: 0 };
  return { ...rest, endpoint, stream, text };
}

async function charged(): Promise<readonly [number, number]> {
  const { totals, open } = await eventually(
    () => stack.usage(),
    (usage) => usage.open.reservations === 0,
  );
  expect(open.reservations).toBe(0);
  return [totals.promptTokens, totals.outputTokens];
}

/** All of the requests at once, with something leaving a moment later: each answer and the bill as if nothing had. */
async function survive(requests: readonly Request[], leave: () => Promise<void>): Promise<Got[]> {
  await eventually(
    () => stack.admin.call("GET", "pools/us-east"),
    ({ body }) => JSON.stringify(body).includes('"usable":true'),
    40_000,
  );
  const before = await charged();
  const server = { url: stack.info.baseUrl, key: stack.info.tenant.key };
  const running = Promise.all(requests.map((one) => ask(server, one)));
  running.catch(() => undefined);
  await new Promise((resolve) => setTimeout(resolve, 700));
  await leave();
  const got = await running;
  for (const [at, one] of requests.entries()) {
    const { requestId: _its, ...unbroken } = await ask({ url: calm.url, key: "none" }, one);
    expect(got[at]).toMatchObject(unbroken);
  }
  const after = await charged();
  const sum = (of: (one: Got) => number) => got.reduce((total, one) => total + of(one), 0);
  expect([after[0] - before[0], after[1] - before[1]]).toEqual([
    sum(({ promptTokens }) => promptTokens),
    sum(({ outputTokens }) => outputTokens),
  ]);
  return got;
}

/** Replicas that worked for a request. */
async function ran({ requestId }: Got): Promise<string[]> {
  const { entries } = await stack.ledgers();
  return entries
    .filter(({ id }) => id === requestId || id.startsWith(`${requestId}#`))
    .map(({ replica }) => replica);
}

async function drain(pool: string, drained: boolean): Promise<void> {
  const { version } = await stack.admin.call("GET", `pools/${pool}`);
  const { status } = await stack.admin.call("PATCH", `pools/${pool}`, { drained, drainMs: 1_500 }, version!);
  expect(status).toBe(200);
}

const KINDS = ["chat", "completions", "messages", "responses"] as const;

it("a pool that is drained hands its streams over, and lets all else run to its end", async () => {
  const long = KINDS.map((endpoint) => request(endpoint, 1_500));
  const others = [request("chat", 20), request("chat", 700, false)];
  const got = await survive([...long, ...others], () => drain("us-east", true));
  for (const one of got.slice(0, long.length))
    expect((await ran(one)).sort()).toEqual(["eu-west-0", "us-east-0"]);
  for (const one of got.slice(long.length)) expect(await ran(one)).toEqual(["us-east-0"]);
  const { body } = await stack.admin.call("GET", "explain?model=sim-chat&location=NA/40/-75");
  expect(JSON.stringify(body)).toContain('"drained"');
}, 90_000);

/** A replica works for somebody. */
async function works(replica: string): Promise<boolean> {
  const { entries } = await stack.ledgers();
  return entries.some((entry) => entry.replica === replica && entry.state === "running");
}

it("a stream is handed over from pool to pool", async () => {
  const [got] = await survive([request("messages", 2_000)], async () => {
    await drain("us-east", true);
    await eventually(() => works("eu-west-0"), Boolean);
    await drain("eu-west", true);
  });
  expect(new Set(await ran(got!))).toEqual(new Set(["us-east-0", "eu-west-0", "ap-southeast-0"]));
}, 90_000);

it("a gate that is stopped hands its streams over before it goes", async () => {
  const got = await survive(
    [...KINDS.map((endpoint) => request(endpoint, 900)), request("chat", 20)],
    async () => {
      stack.gates.get("us-east")!.kill("SIGTERM");
    },
  );
  for (const one of got.slice(0, KINDS.length)) expect((await ran(one)).length).toBeGreaterThan(1);
}, 90_000);

it("a replica that is stopped loses no stream", async () => {
  await survive([...KINDS.map((endpoint) => request(endpoint, 900)), request("chat", 20)], async () => {
    stack.replicas.get("us-east-0")!.kill("SIGTERM");
  });
}, 90_000);
