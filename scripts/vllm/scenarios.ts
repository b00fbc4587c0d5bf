import assert from "node:assert/strict";
import { setTimeout as sleep } from "node:timers/promises";
import { CAPITAL, type Case, CONTINUOUS, chat, SAY_EMOJI, STORY, WEATHER } from "./cases/case.ts";
import { type Index, keep } from "./fixtures.ts";
import { partOf, type VllmServer } from "./server.ts";
import { type Answer, exchange, type Watch } from "./wire.ts";

const CASE_TIMEOUT_MS = 120_000;
const DRAIN_SETTLE_MS = 500;
export const API_KEY = "golden-key";

/** One started server and the index that its answers go to. */
export interface Recorder {
  server: VllmServer;
  /** Key of the server's arguments in the index. */
  label: string;
  index: Index;
  headers: Record<string, string>;
}

/** For requests that are only looked at, not kept. */
export function recorderOf(server: VllmServer): Recorder {
  return { server, label: "", index: { vllm: "", servers: {}, fixtures: [] }, headers: {} };
}

export function send(recorder: Recorder, one: Case, watch: Partial<Watch> = {}): Promise<Answer> {
  const body =
    one.body === undefined || typeof one.body === "string" ? (one.body ?? "") : JSON.stringify(one.body);
  return exchange(
    {
      port: recorder.server.port,
      method: one.body === undefined ? "GET" : "POST",
      path: one.path,
      headers: { "content-type": "application/json", ...recorder.headers, ...one.headers },
      body: body as string,
    },
    { deadlineMs: CASE_TIMEOUT_MS, ...watch },
  );
}

export async function record(recorder: Recorder, one: Case): Promise<void> {
  if (one.warm === true) await send(recorder, one);
  const answer = await send(recorder, one);
  await keep(recorder.index, recorder.label, one, answer);
  console.log(`${one.name}: ${answer.status} ${answer.body.length} bytes, ${answer.end}`);
}

/** Sends a request and resolves `begun` when its answer holds at least `count` data frames. */
function follow(recorder: Recorder, one: Case, count = 3): { begun: Promise<void>; answer: Promise<Answer> } {
  const { promise: begun, resolve } = Promise.withResolvers<void>();
  const onText = (text: string) => {
    if (text.split("\ndata: ").length >= count) resolve();
  };
  return { begun, answer: send(recorder, one, { onText }) };
}

const LONG_STORY = chat({ ...CONTINUOUS, messages: STORY, max_tokens: 60 });

/** A server with one slot, a queue of one, and an API key. */
export async function recordLimits(recorder: Recorder): Promise<void> {
  const open = { ...recorder, headers: {} };
  await record(open, {
    name: "error-unauthorized",
    path: "/v1/chat/completions",
    shows: "no key: error is a string",
    body: chat({}),
  });
  await record(open, {
    name: "error-unauthorized-messages",
    path: "/v1/messages",
    shows: "x-api-key is not taken",
    body: { model: "smol", max_tokens: 2, messages: CAPITAL },
    headers: { "x-api-key": API_KEY },
  });
  await record(open, {
    name: "unguarded-invocations",
    path: "/invocations",
    shows: "a chat without the key: this path is not guarded",
    body: chat({}),
  });
  const tools = [{ type: "function", function: WEATHER }];
  await record(recorder, {
    name: "error-tools-off",
    path: "/v1/chat/completions",
    shows: "tools on a server without a tool parser",
    body: chat({ tools }),
  });
  await record(recorder, {
    name: "chat-stream-emoji-no-parser",
    path: "/v1/chat/completions",
    shows: "without a tool parser: frames with empty text inside a character",
    body: chat({ ...CONTINUOUS, max_tokens: 40, ...SAY_EMOJI }),
  });
  await record(recorder, {
    name: "chat-stream-stop-string-no-parser",
    path: "/v1/chat/completions",
    shows: "without a tool parser: frames with empty text while the stop string is possible",
    body: chat({ ...CONTINUOUS, stop: [" Paris"] }),
  });
  await recordFullQueue(recorder);
}

async function recordFullQueue(recorder: Recorder): Promise<void> {
  const path = "/v1/chat/completions";
  const running = follow(recorder, { name: "running", path, shows: "", body: LONG_STORY });
  await running.begun;
  const queued: Case = {
    name: "chat-stream-keep-alive",
    path,
    shows: "queued for seconds: keep-alive comments before the first frame",
    body: chat({ ...CONTINUOUS, max_tokens: 2 }),
  };
  const waiting = send(recorder, queued);
  await sleep(DRAIN_SETTLE_MS);
  const shows = "one running, one waiting, no more taken";
  const refused: Case[] = [
    { name: "error-queue-full", path, shows, body: chat({}) },
    { name: "error-queue-full-stream", path, shows, body: chat({ stream: true }) },
    {
      name: "error-queue-full-completions",
      path: "/v1/completions",
      shows,
      body: { model: "smol", prompt: "x", max_tokens: 2 },
    },
    { name: "error-queue-full-responses", path: "/v1/responses", shows, body: { model: "smol", input: "x" } },
    {
      name: "error-queue-full-responses-stream",
      path: "/v1/responses",
      shows,
      body: { model: "smol", input: "x", stream: true },
    },
    {
      name: "error-queue-full-messages",
      path: "/v1/messages",
      shows,
      body: { model: "smol", max_tokens: 2, messages: CAPITAL },
    },
    {
      name: "error-queue-full-messages-stream",
      path: "/v1/messages",
      shows,
      body: { model: "smol", max_tokens: 2, messages: CAPITAL, stream: true },
    },
    { name: "metrics-busy", path: "/metrics", shows: "one running, one waiting, some refused" },
    { name: "health-busy", path: "/health", shows: "a full server is healthy" },
  ];
  for (const one of refused) await record(recorder, one);
  await keep(recorder.index, recorder.label, queued, await waiting);
  assert.equal((await running.answer).end, "complete");
}

/** SIGTERM with --shutdown-timeout while a stream runs. The server is gone afterwards. */
export async function recordDrain(recorder: Recorder): Promise<void> {
  const path = "/v1/chat/completions";
  const stream: Case = {
    name: "drain-chat-stream",
    path,
    shows: "SIGTERM after the third frame: the stream goes on to its end",
    body: chat({ ...CONTINUOUS, messages: STORY, max_tokens: 40 }),
  };
  const running = follow(recorder, stream);
  await running.begun;
  recorder.server.process.kill("SIGTERM");
  await sleep(DRAIN_SETTLE_MS);
  await record(recorder, { name: "drain-health", path: "/health", shows: "200 while draining" });
  await record(recorder, { name: "error-draining", path, shows: "500 while draining", body: chat({}) });
  await record(recorder, {
    name: "error-draining-stream",
    path,
    shows: "500 while draining",
    body: chat({ stream: true }),
  });
  await keep(recorder.index, recorder.label, stream, await running.answer);
}

/** kill -9 of the engine while one request of each kind runs. The server is gone afterwards. */
export async function recordCrash(recorder: Recorder): Promise<void> {
  const tokens = 300;
  const shows = "the engine is killed while this runs";
  const story = { model: "smol", temperature: 0, max_tokens: tokens };
  const cases: Case[] = [
    {
      name: "crash-chat-stream",
      path: "/v1/chat/completions",
      body: { ...story, ...CONTINUOUS, messages: STORY },
      shows: `${shows}: an error frame, then [DONE] and a clean end`,
    },
    {
      name: "crash-completions-stream",
      path: "/v1/completions",
      body: { ...story, ...CONTINUOUS, prompt: "The lighthouse" },
      shows,
    },
    {
      name: "crash-responses-stream",
      path: "/v1/responses",
      body: {
        model: "smol",
        temperature: 0,
        max_output_tokens: tokens,
        stream: true,
        input: STORY[0]?.content,
      },
      shows,
    },
    {
      name: "crash-messages-stream",
      path: "/v1/messages",
      body: { ...story, messages: STORY, stream: true },
      shows,
    },
  ];
  const json: Case = {
    name: "crash-chat-json",
    path: "/v1/chat/completions",
    body: { ...story, messages: STORY },
    shows,
  };
  const streams = cases.map((one) => ({ one, ...follow(recorder, one, 6) }));
  const whole = send(recorder, json);
  await Promise.all(streams.map((stream) => stream.begun));
  process.kill(partOf(recorder.server, "VLLM::EngineCore"), "SIGKILL");
  for (const { one, answer } of streams) await keep(recorder.index, recorder.label, one, await answer);
  await keep(recorder.index, recorder.label, json, await whole);
}
