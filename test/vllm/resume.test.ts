import { describe, expect, it } from "vitest";
import type { OriginOrder } from "../../src/contract/origin-token.ts";
import { readDelivered } from "../../src/engine/continuation/delivered.ts";
import type { JsonObject } from "../../src/engine/endpoint.ts";
import { endpointForPath } from "../../src/engine/endpoints.ts";
import { SseParser } from "../../src/engine/sse.ts";
import { carryOn } from "../../src/gate/continue.ts";
import { engineEnding } from "../../src/gate/endings.ts";
import { streamAnswer } from "../../src/gate/relay/stream.ts";
import { ORDER } from "../unit/engine/support.ts";

/**
 * A real vLLM's stream, cut and carried on as edge and gate do it, against the same stream unbroken, at temperature 0.
 * MERIDIAN_VLLM_URL names the server, MERIDIAN_VLLM_MODEL its model.
 */
const url = process.env.MERIDIAN_VLLM_URL ?? "";
const model = process.env.MERIDIAN_VLLM_MODEL ?? "smol";
const order: OriginOrder = { ...ORDER, servedModel: model };
const engineError = (status: number, message: string) =>
  engineEnding({ status, message, param: null }, model);
const user = (content: string) => [{ role: "user", content }];
const usage = { stream_options: { include_usage: true } };
const STORY = "Tell me a short story about a lighthouse.";

const CASES: [path: string, body: JsonObject][] = [
  ["/v1/chat/completions", { messages: user(STORY), max_tokens: 40, ...usage }],
  ["/v1/chat/completions", { messages: user("Write a haiku with an emoji 😀"), max_tokens: 30, ...usage }],
  ["/v1/completions", { prompt: "The capital of France is", max_tokens: 24, ...usage }],
  ["/v1/messages", { messages: user(STORY), max_tokens: 30, system: "Be brief." }],
  ["/v1/responses", { input: STORY, instructions: "Be brief.", max_output_tokens: 30 }],
];

async function ask(path: string, body: JsonObject): Promise<Uint8Array> {
  const response = await fetch(url + path, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify(body),
  });
  if (response.status !== 200) throw new Error(await response.text());
  return new Uint8Array(await response.arrayBuffer());
}

function said(stream: string): { text: string; usage: unknown } {
  let text = "";
  let last: unknown = null;
  for (const event of new SseParser().push(new TextEncoder().encode(stream))) {
    if (event.comment || event.data === "[DONE]") continue;
    const frame = JSON.parse(event.data);
    const choice = frame.choices?.[0];
    text += choice?.delta?.content ?? choice?.text ?? frame.delta?.text ?? "";
    if (frame.type === "response.output_text.delta") text += frame.delta;
    const shown = frame.usage ?? frame.response?.usage;
    if (shown && frame.type !== "message_start") {
      last = [shown.prompt_tokens ?? shown.input_tokens, shown.completion_tokens ?? shown.output_tokens];
    }
  }
  return { text, usage: last };
}

describe.skipIf(url === "").each(CASES)("%s %j", (path, asked) => {
  it("goes on as if nothing had happened", async () => {
    const endpoint = endpointForPath(path)!;
    const body: JsonObject = { model: "mine", temperature: 0, stream: true, ...asked };
    const answer = streamAnswer(endpoint.reader(body, order), engineError);
    const sent = await ask(endpoint.enginePath, endpoint.prepare(body, order).body);
    const cuts: { text: string; words: string }[] = [];
    let whole = "";
    for (const event of new SseParser().push(sent)) {
      whole += answer.take(new TextEncoder().encode(event.raw)).text;
      cuts.push({ text: whole, words: answer.lastWords(null) });
    }
    for (const share of [0.3, 0.6, 0.85]) {
      const { text, words } = cuts[Math.floor(cuts.length * share)]!;
      for (const last of [words, ""]) {
        const delivered = readDelivered(endpoint.id, new TextEncoder().encode(text + last), true);
        const { continuation, told } = delivered!;
        const engine = { url, apiKey: undefined };
        const continues = { ticket: "t", told };
        const plan = await carryOn(
          endpoint,
          { continuation, body },
          { ...order, continues },
          engine,
          engineError,
        );
        let rest = "";
        if (plan.kind === "finished") rest = plan.text;
        if (plan.kind === "relay") rest = plan.answer.take(await ask(plan.path, plan.body)).text;
        expect(said(text + rest), `cut at ${share}, ${last === "" ? "gate gone" : "told"}`).toEqual(
          said(whole),
        );
      }
    }
  });
});
