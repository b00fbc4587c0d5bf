import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type Replica, startReplica } from "../../../sim/origin/replica.ts";
import { farewell, type Told } from "../../../src/contract/continuation.ts";
import type { OriginOrder } from "../../../src/contract/origin-token.ts";
import { readDelivered } from "../../../src/engine/continuation/delivered.ts";
import { whyNotResumable } from "../../../src/engine/continuation/eligible.ts";
import type { Endpoint, JsonObject } from "../../../src/engine/endpoint.ts";
import { endpointForPath } from "../../../src/engine/endpoints.ts";
import { SseParser } from "../../../src/engine/sse.ts";
import { carryOn } from "../../../src/gate/continue.ts";
import { engineEnding } from "../../../src/gate/endings.ts";
import { streamAnswer } from "../../../src/gate/relay/stream.ts";
import { ORDER } from "../engine/support.ts";

/** A stream of the simulated engine, cut at every byte and carried on, against the same stream unbroken. */

let replica: Replica;
const order: OriginOrder = { ...ORDER, servedModel: "sim-chat", requestId: "req_x" };
const engineError = (status: number, message: string) =>
  engineEnding({ status, message, param: null }, "sim-chat");

beforeAll(async () => {
  replica = await startReplica({ speed: 2_000 });
});
afterAll(() => replica.close());

const user = (content: string) => [{ role: "user", content }];
const CJK = "请写一首关于灯塔和海的诗 😀🚢 `const x = [1, 2];` [len=24]";
const QUESTIONS: [path: string, body: JsonObject][] = [
  ["/v1/chat/completions", { messages: user(CJK), stream_options: { include_usage: true } }],
  ["/v1/chat/completions", { messages: user("Lighthouses, please. [len=30]"), max_tokens: 12 }],
  ["/v1/chat/completions", { messages: user("Dots. [len=30]"), min_tokens: 8, stop: "." }],
  [
    "/v1/chat/completions",
    {
      messages: user("Short. [len=9]"),
      stream_options: { include_usage: true, continuous_usage_stats: true },
    },
  ],
  ["/v1/completions", { prompt: "Once upon a ti", max_tokens: 20, stream_options: { include_usage: true } }],
  ["/v1/messages", { messages: user(CJK), max_tokens: 100, system: "Be brief." }],
  ["/v1/messages", { messages: user("Count. [len=40]"), max_tokens: 10 }],
  ["/v1/responses", { input: CJK, instructions: "Be brief." }],
  ["/v1/responses", { input: user("Count. [len=40]"), max_output_tokens: 10 }],
];

interface Said {
  readonly text: string;
  readonly ids: number;
  readonly roles: number;
  readonly ends: readonly unknown[];
  readonly usage: unknown;
  readonly dones: number;
}

/** What an SDK makes of a stream. Throws on an event that is no JSON. */
function said(stream: string): Said {
  const parser = new SseParser();
  const events = parser.push(new TextEncoder().encode(stream));
  if (parser.end()) throw new Error("half an event was left");
  let text = "";
  let roles = 0;
  let dones = 0;
  const ids = new Set<unknown>();
  const ends: unknown[] = [];
  let usage: unknown = null;
  let sequence = -1;
  for (const event of events.filter(({ comment }) => !comment)) {
    if (event.data === "[DONE]") {
      dones += 1;
      continue;
    }
    const frame = JSON.parse(event.data);
    if (event.event !== null && frame.sequence_number !== undefined) {
      expect(frame.sequence_number).toBe(sequence + 1);
      sequence = frame.sequence_number;
    }
    const choice = frame.choices?.[0];
    text += choice?.delta?.content ?? choice?.text ?? frame.delta?.text ?? "";
    if (frame.type === "response.output_text.delta") text += frame.delta;
    ids.add(frame.id ?? frame.item_id ?? null);
    if (choice?.delta?.role || frame.type === "message_start" || frame.type === "response.content_part.added")
      roles += 1;
    if (choice?.finish_reason) ends.push(choice.finish_reason);
    if (frame.type === "message_delta") ends.push(frame.delta.stop_reason);
    if (frame.type === "message_stop") dones += 1;
    if (frame.type === "response.completed") {
      ends.push(frame.response.status, frame.response.output[0].content[0].text);
      dones += 1;
    }
    const shown = frame.type === "message_start" ? null : (frame.usage ?? frame.response?.usage ?? null);
    if (shown !== null) {
      usage = [shown.prompt_tokens ?? shown.input_tokens + (shown.cache_read_input_tokens ?? 0)];
      (usage as unknown[]).push(shown.completion_tokens ?? shown.output_tokens);
    }
  }
  return { text, ids: ids.has(null) ? 0 : ids.size, roles, ends, usage, dones };
}

async function ask(path: string, body: JsonObject): Promise<Uint8Array> {
  const response = await fetch(replica.url + path, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify(body),
  });
  if (response.status !== 200) throw new Error(await response.text());
  return new Uint8Array(await response.arrayBuffer());
}

/** The stream as the gate sends it, with what it had cost after each byte. */
async function unbroken(endpoint: Endpoint, body: JsonObject) {
  const sent = await ask(endpoint.enginePath, endpoint.prepare(body, order).body);
  const answer = streamAnswer(endpoint.reader(body, order), engineError);
  const told: { at: number; words: string }[] = [];
  let text = "";
  for (const event of new SseParser().push(sent)) {
    text += answer.take(new TextEncoder().encode(event.raw)).text;
    told.push({ at: new TextEncoder().encode(text).length, words: answer.lastWords() });
  }
  return { bytes: new TextEncoder().encode(text), told };
}

async function carried(endpoint: Endpoint, body: JsonObject, sent: Uint8Array): Promise<string | null> {
  const delivered = readDelivered(endpoint.id, sent, true);
  if (delivered === null) return null;
  const before = new TextDecoder().decode(sent) + delivered.tail;
  if (delivered.complete) return before;
  const { continuation, told } = delivered;
  const continues = { ticket: "t", told };
  const engine = { url: replica.url, apiKey: undefined };
  const envelope = { continuation: JSON.parse(JSON.stringify(continuation)), body };
  const plan = await carryOn(endpoint, envelope, { ...order, continues }, engine, engineError);
  if (plan.kind === "failed") throw new Error("failed");
  if (plan.kind === "finished") return before + plan.text;
  const taken = plan.answer.take(await ask(plan.path, plan.body));
  expect([taken.broken, plan.answer.complete]).toEqual([null, true]);
  expect(plan.answer.usage().promptTokens).toBe(0);
  return before + taken.text;
}

describe.each(QUESTIONS)("%s %j", (path, asked) => {
  const endpoint = endpointForPath(path)!;
  const body: JsonObject = { model: "mine", temperature: 0, stream: true, ...asked };

  it("goes on after every whole event as if nothing had happened", async () => {
    expect(whyNotResumable(endpoint.id, body)).toBeNull();
    const { bytes, told } = await unbroken(endpoint, body);
    const whole = said(new TextDecoder().decode(bytes));
    expect(whole.dones).toBe(1);
    for (const { at, words } of told) {
      for (const last of [words, ""]) {
        const sent = new TextEncoder().encode(new TextDecoder().decode(bytes.subarray(0, at)) + last);
        const joined = await carried(endpoint, body, sent);
        if (at === 0) continue;
        expect(joined, `cut at ${at}`).not.toBeNull();
        expect(said(joined!), `cut at ${at}`).toEqual(whole);
      }
    }
  }, 60_000);

  it("makes a half event whole, or says that it cannot", async () => {
    const { bytes } = await unbroken(endpoint, body);
    const whole = said(new TextDecoder().decode(bytes));
    let refused = 0;
    let cuts = 0;
    for (let at = Math.floor(bytes.length / 3); at < (bytes.length * 2) / 3; at += 7) {
      cuts += 1;
      const joined = await carried(endpoint, body, bytes.slice(0, at));
      if (joined === null) refused += 1;
      else {
        expect(said(joined), `cut at ${at}`).toEqual(whole);
      }
    }
    expect(refused).toBeLessThan(cuts / 3);
  }, 60_000);
});

it("does not take a stream up that is not plain text", () => {
  const chat = { model: "m", stream: true, messages: user("hi") };
  expect(whyNotResumable("chat", chat)).toBeNull();
  const image = [{ role: "user", content: [{ type: "image_url", image_url: { url: "data:," } }] }];
  const cases: [string, JsonObject][] = [
    ["not_a_stream", { stream: false }],
    ["choices", { n: 2 }],
    ["logprobs", { logprobs: true }],
    ["tools", { tools: [{ type: "function", function: { name: "f" } }] }],
    ["structured_output", { response_format: { type: "json_object" } }],
    ["penalties", { presence_penalty: 0.5 }],
    ["seed", { seed: 7 }],
    ["stop", { stop: ["END"] }],
    ["media", { messages: image }],
  ];
  for (const [why, more] of cases) expect(whyNotResumable("chat", { ...chat, ...more })).toBe(why);
  expect(whyNotResumable("chat", { ...chat, seed: 7, temperature: 0 })).toBeNull();
  expect(whyNotResumable("embeddings", { stream: true })).toBe("no_text");
});

it("tells what a stream has cost in a comment, and nothing else is taken for it", () => {
  const told: Told = { promptTokens: 3, outputTokens: 2 };
  const text = `data: {"id":"a","created":1,"choices":[{"index":0,"delta":{"content":"x"}}]}\n\n${farewell(told)}`;
  expect(readDelivered("chat", new TextEncoder().encode(text), true)?.told).toEqual(told);
  const other = text.replace(": meridian", ": keep-alive");
  expect(readDelivered("chat", new TextEncoder().encode(other), true)?.told).toBeNull();
});
