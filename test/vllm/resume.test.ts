import { describe, expect, it } from "vitest";
import type { JsonObject } from "../../src/engine/endpoint.ts";
import { endpointForPath } from "../../src/engine/endpoints.ts";
import { carrier, said } from "../support/carrying.ts";

/**
 * A real vLLM's stream, cut and carried on as edge and gate do it, against the same stream unbroken, at temperature 0.
 * MERIDIAN_VLLM_URL names the server, MERIDIAN_VLLM_MODEL its model.
 */
const url = process.env.MERIDIAN_VLLM_URL ?? "";
const model = process.env.MERIDIAN_VLLM_MODEL ?? "smol";
const { ask, unbroken, carried } = carrier(() => url, model);
const user = (content: string) => [{ role: "user", content }];
const usage = { stream_options: { include_usage: true } };
const CHINESE = "请写一首关于灯塔、海与渡船的长诗，慢慢写 😀🚢🌊";
const CODE = "Write a function in TypeScript that adds up a list of numbers. Code only.";
const STORY = "Tell me a short story about a lighthouse.";

const CASES: [path: string, body: JsonObject][] = [
  ["/v1/chat/completions", { messages: user(STORY), max_tokens: 40, ...usage }],
  ["/v1/chat/completions", { messages: user("Write a haiku with an emoji 😀"), max_tokens: 30, ...usage }],
  ["/v1/chat/completions", { messages: user(STORY), max_tokens: 40, stop: ["lighthouse keeper", "the sea"] }],
  ["/v1/chat/completions", { messages: user(CHINESE), max_tokens: 40, stop: ["。\n", "灯塔的"] }],
  [
    "/v1/chat/completions",
    { messages: user(CODE), max_tokens: 60, stop: ["return ", "\n\n"], min_tokens: 12 },
  ],
  ["/v1/completions", { prompt: "The capital of France is", max_tokens: 24, ...usage }],
  ["/v1/completions", { prompt: [504, 3575, 282, 4649, 314], max_tokens: 24, min_tokens: 20, ...usage }],
  ["/v1/completions", { prompt: "One, two, three,", max_tokens: 40, stop: ["seven, eight"], ...usage }],
  ["/v1/messages", { messages: user(STORY), max_tokens: 30, system: "Be brief." }],
  ["/v1/messages", { messages: user(STORY), max_tokens: 40, stop_sequences: ["the lighthouse", "sea."] }],
  ["/v1/messages", { messages: user(STORY), max_tokens: 60, stop_sequences: ["."] }],
  ["/v1/responses", { input: STORY, max_output_tokens: 40, stop: ["the lighthouse", "sea."] }],
  ["/v1/responses", { input: CHINESE, max_output_tokens: 40, stop: "。" }],
  ["/v1/responses", { input: STORY, instructions: "Be brief.", max_output_tokens: 30 }],
];

describe.skipIf(url === "").each(CASES)("%s %j", (path, asked) => {
  it("goes on as if nothing had happened", async () => {
    const endpoint = endpointForPath(path)!;
    const body: JsonObject = { model: "mine", temperature: 0, stream: true, ...asked };
    const { bytes, told } = await unbroken(endpoint, body);
    const whole = said(new TextDecoder().decode(bytes));
    // As the engine alone says it: held back or not, a stop string ends the text in the same place.
    const alone = said(new TextDecoder().decode(await ask(path, { ...body, model })));
    expect([whole.text, whole.ends]).toEqual([alone.text, alone.ends]);
    for (const share of [0.3, 0.6, 0.85]) {
      const { at, words } = told[Math.floor(told.length * share)]!;
      for (const last of [words, ""]) {
        const sent = new TextDecoder().decode(bytes.subarray(0, at)) + last;
        const joined = await carried(endpoint, body, new TextEncoder().encode(sent));
        const name = `cut at ${share}, ${last === "" ? "gate gone" : "told"}`;
        expect(joined === null ? null : said(joined), name).toEqual(whole);
      }
    }
  });
});
