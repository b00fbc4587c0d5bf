import { readFileSync } from "node:fs";
import { afterEach, describe, expect, test } from "vitest";
import { DEFAULT_SPEC } from "../../../sim/origin/engine/engine.ts";
import type { ReplicaOptions } from "../../../sim/origin/options.ts";
import { type Replica, startReplica } from "../../../sim/origin/replica.ts";
import { chatBody, entryOf, eventually, post, rawChat, readAll, stream } from "./support/client.ts";
import { parseEvents, shapeOf } from "./support/shape.ts";

/** What a vLLM says when its engine dies, its queue is full or it drains, against recordings of the real one. */
const golden = (file: string) =>
  readFileSync(new URL(`../../fixtures/vllm/${file}`, import.meta.url), "utf8");

const running: Replica[] = [];
afterEach(async () => {
  for (const replica of running.splice(0)) await replica.close();
});
async function start(options: Partial<ReplicaOptions> = {}): Promise<Replica> {
  const replica = await startReplica({ model: "smol", speed: 50, ...options });
  running.push(replica);
  return replica;
}

const STORY = "Tell me a long story about a lighthouse keeper. [len=300]";
const BODIES: Record<string, object> = {
  "/v1/chat/completions": chatBody(STORY, { model: "smol" }),
  "/v1/completions": { model: "smol", prompt: STORY, max_tokens: 300, stream: true },
  "/v1/messages": {
    model: "smol",
    max_tokens: 300,
    messages: [{ role: "user", content: STORY }],
    stream: true,
  },
  "/v1/responses": { model: "smol", input: STORY, stream: true },
};

/** A stream as far as it comes. */
async function receive(replica: Replica, path: string): Promise<{ text: string; end: "complete" | "cut" }> {
  const response = await post(replica, path, BODIES[path]);
  let text = "";
  try {
    for await (const part of response.body!) text += Buffer.from(part).toString("utf8");
    return { text, end: "complete" };
  } catch {
    return { text, end: "cut" };
  }
}

describe("the engine dies in the middle", () => {
  test.each([
    ["/v1/chat/completions", "crash-chat-stream.sse", "complete"],
    ["/v1/completions", "crash-completions-stream.sse", "complete"],
    ["/v1/messages", "crash-messages-stream.sse", "complete"],
    ["/v1/responses", "crash-responses-stream.sse", "cut"],
  ])("%s", async (path, file, end) => {
    const replica = await start({ enableAutoToolChoice: false });
    replica.setFaults({ engineError: { afterTokens: 7 } });
    const answer = await receive(replica, path);
    expect(answer.end).toBe(end);
    const said = parseEvents(answer.text);
    const expected = parseEvents(golden(file));
    const tail = (events: typeof said) =>
      events.slice(-2).map(({ name, raw }) => (raw.includes("rror") ? raw : name));
    expect(tail(said)).toEqual(tail(expected));
  });

  test("in one JSON", async () => {
    const replica = await start();
    replica.setFaults({ engineError: { afterTokens: 7 } });
    const response = await post(replica, "/v1/chat/completions", {
      messages: [{ role: "user", content: STORY }],
    });
    expect(response.status).toBe(500);
    expect(await response.text()).toBe(golden("crash-chat-json.json"));
  });
});

describe("the queue is full", () => {
  test("a true 503 in each API's shape, and a healthy server", async () => {
    const replica = await start({
      maxNumQueuedReqs: 2,
      engine: { ...DEFAULT_SPEC, maxSequences: 1 },
      speed: 0.1,
    });
    for (const id of ["running", "waiting"]) rawChat(replica, id, chatBody(STORY, { model: "smol" }));
    await eventually(() => replica.ledger.get("waiting")?.status === 200);
    for (const [path, name] of [
      ["/v1/chat/completions", "error-queue-full"],
      ["/v1/completions", "error-queue-full-completions"],
      ["/v1/messages", "error-queue-full-messages"],
      ["/v1/responses", "error-queue-full-responses"],
    ] as const) {
      for (const streamed of [true, false]) {
        const response = await post(replica, path, {
          ...BODIES[path],
          stream: streamed,
          stream_options: undefined,
        });
        expect(response.status).toBe(503);
        expect(response.headers.get("retry-after")).toBeNull();
        expect(await response.text()).toBe(golden(`${name}.json`));
      }
    }
    expect((await fetch(`${replica.url}/health`)).status).toBe(200);
    // The gauges are those of the last step, so the second request shows only with the next one.
    let page = "";
    await eventually(async () => {
      page = await (await fetch(`${replica.url}/metrics`)).text();
      return /^vllm:num_requests_waiting\{[^}]*\} 1\.0$/m.test(page);
    });
    expect(page).toMatch(/^vllm:num_requests_running\{[^}]*\} 1\.0$/m);
    expect(page).toContain(
      'vllm:admission_rejections_total{model_name="smol",reason="max_num_queued_reqs"} 8.0',
    );
  });

  test("n counts as n requests", async () => {
    const replica = await start({ maxNumQueuedReqs: 2 });
    const body = { messages: [{ role: "user", content: "x [len=1]" }], n: 3, temperature: 1 };
    expect((await post(replica, "/v1/chat/completions", body)).status).toBe(503);
    expect((await post(replica, "/v1/chat/completions", { ...body, n: 2 })).status).toBe(200);
  });

  test("headers come at once, keep-alive comments while waiting, and the role with the first token", async () => {
    const engine = { ...DEFAULT_SPEC, maxSequences: 1 };
    const replica = await start({ engine, speed: 1, sseKeepAliveIntervalS: 0.03 });
    const first = rawChat(replica, "first", chatBody(STORY, { model: "smol" }));
    await eventually(() => replica.ledger.get("first")?.state === "running");
    const response = await post(replica, "/v1/chat/completions", chatBody("x [len=2]", { model: "smol" }));
    expect(replica.ledger.get("first")?.state).toBe("running");
    setTimeout(() => first.destroy(), 80);
    const text = await response.text();
    const names = parseEvents(text).map(({ name }) => name);
    expect(names[0]).toBe("comment");
    expect(text.startsWith(golden("chat-stream-keep-alive.sse").slice(0, 14))).toBe(true);
    expect(names.filter((name) => name !== "comment")).toHaveLength(6);
  });
});

describe("SIGTERM", () => {
  test("with time: the stream goes on to its end, health is 200, new chats get 500", async () => {
    const replica = await start({ shutdownTimeoutS: 20, enablePromptTokensDetails: false });
    const answer = stream(replica, chatBody("x [len=2500]", { model: "smol" }));
    await eventually(() => totals(replica).outputTokens > 3);
    const gone = replica.shutdown();
    expect((await fetch(`${replica.url}/health`)).status).toBe(200);
    for (const streamed of [false, true]) {
      const response = await post(replica, "/v1/chat/completions", {
        ...BODIES["/v1/chat/completions"],
        stream: streamed,
        stream_options: undefined,
      });
      expect(response.status).toBe(500);
      expect(await response.text()).toBe(golden("error-draining.json"));
    }
    const { done, chunks } = await answer;
    expect(done).toBe(true);
    const expected = parseEvents(golden("drain-chat-stream.sse")).at(-2)?.data;
    expect(shapeOf(chunks.at(-1))).toBe(shapeOf(expected));
    await gone;
    await expect(fetch(`${replica.url}/health`)).rejects.toThrow();
  });

  test("without: the stream ends with the error, [DONE] and a clean end", async () => {
    const replica = await start();
    const answer = stream(replica, chatBody("x [len=4000]", { model: "smol" }));
    await eventually(() => totals(replica).outputTokens > 3);
    await replica.shutdown();
    const { raw, done } = await answer;
    expect(done).toBe(true);
    expect(raw).toContain("EngineCore encountered an issue");
  });

  test("hanging: silence, and nobody listens, until the client goes", async () => {
    const replica = await start();
    replica.setFaults({ hangOnShutdown: {} });
    const socket = rawChat(replica, "left-hanging", chatBody("x [len=4000]", { model: "smol" }));
    const everything = readAll(socket);
    await eventually(() => totals(replica).outputTokens > 3);
    const gone = replica.shutdown();
    await eventually(() =>
      fetch(`${replica.url}/health`).then(
        () => false,
        () => true,
      ),
    );
    expect(entryOf(replica, "left-hanging").state).toBe("running");
    socket.end();
    expect(await everything).not.toContain("[DONE]");
    await gone;
    expect(entryOf(replica, "left-hanging").state).toBe("aborted");
  });

  test("an idle one leaves at once", async () => {
    const replica = await start({ shutdownTimeoutS: 20 });
    const began = performance.now();
    await replica.shutdown();
    expect(performance.now() - began).toBeLessThan(1_000);
  });
});

test("a cut connection leaves an entry that says so", async () => {
  const replica = await start();
  replica.setFaults({ cut: { afterTokens: 3 } });
  await readAll(rawChat(replica, "cut", chatBody(STORY, { model: "smol" })));
  expect(entryOf(replica, "cut")).toMatchObject({ state: "failed", aborted: false, outputTokens: 3 });
});

function totals(replica: Replica): { outputTokens: number } {
  return (replica.ledger.toJSON() as { totals: { outputTokens: number } }).totals;
}
