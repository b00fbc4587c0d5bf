import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type Replica, startReplica } from "../../../sim/origin/replica.ts";
import { aside, type Told } from "../../../src/contract/continuation.ts";
import { readDelivered } from "../../../src/engine/continuation/delivered.ts";
import { whyNotResumable } from "../../../src/engine/continuation/eligible.ts";
import type { JsonObject } from "../../../src/engine/endpoint.ts";
import { endpointForPath } from "../../../src/engine/endpoints.ts";
import { carrier, said } from "../../support/carrying.ts";

/** A stream of the simulated engine, cut at every byte and carried on, against the same stream unbroken. */

let replica: Replica;
const { unbroken, carried } = carrier(() => replica.url, "sim-chat");

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
  ["/v1/completions", { prompt: [412, 17, 903, 55, 2_001], max_tokens: 20, min_tokens: 15 }],
  ["/v1/messages", { messages: user(CJK), max_tokens: 100, system: "Be brief." }],
  ["/v1/messages", { messages: user("Count. [len=40]"), max_tokens: 10 }],
  ["/v1/responses", { input: CJK, instructions: "Be brief." }],
  ["/v1/responses", { input: user("Count. [len=40]"), max_output_tokens: 10 }],
];

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
    ["stop", { stop: ["END"], stop_token_ids: [7] }],
    ["media", { messages: image }],
  ];
  for (const [why, more] of cases) expect(whyNotResumable("chat", { ...chat, ...more })).toBe(why);
  expect(whyNotResumable("chat", { ...chat, seed: 7, temperature: 0 })).toBeNull();
  expect(whyNotResumable("chat", { ...chat, stop: ["END"], include_stop_str_in_output: true })).toBeNull();
  expect(whyNotResumable("responses", { stream: true, input: "hi", stop: ["END"] })).toBeNull();
  expect(whyNotResumable("completions", { stream: true, prompt: [1, 2] })).toBeNull();
  for (const prompt of [["a"], [[1]], []]) {
    expect(whyNotResumable("completions", { stream: true, prompt })).toBe("prompt");
  }
  expect(whyNotResumable("embeddings", { stream: true })).toBe("no_text");
});

it("tells what a stream has cost in a comment, and nothing else is taken for it", () => {
  const told: Told = { promptTokens: 3, outputTokens: 2 };
  const text = `data: {"id":"a","created":1,"choices":[{"index":0,"delta":{"content":"x"}}]}\n\n${aside({ told, away: null, ends: null })}`;
  expect(readDelivered("chat", new TextEncoder().encode(text), true)?.told).toEqual(told);
  const other = text.replace(": meridian", ": keep-alive");
  expect(readDelivered("chat", new TextEncoder().encode(other), true)?.told).toBeNull();
});
