import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type Replica, startReplica } from "../../../sim/origin/replica.ts";
import type { Endpoint, JsonObject } from "../../../src/engine/endpoint.ts";
import { endpointForPath } from "../../../src/engine/endpoints.ts";
import { SseParser } from "../../../src/engine/sse.ts";
import { framesOf, ORDER, run, timeless } from "./support.ts";

/** The simulated engine, asked twice: once as the gate would ask it, once as the client did. */

let replica: Replica;
const order = { ...ORDER, servedModel: "sim-chat" };

beforeAll(async () => {
  replica = await startReplica({ speed: 500, enablePromptTokensDetails: false });
});

afterAll(() => replica.close());

async function ask(endpoint: Endpoint, body: JsonObject): Promise<Response> {
  const response = await fetch(replica.url + endpoint.enginePath, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify(body),
  });
  if (response.status !== 200) throw new Error(await response.text());
  return response;
}

const user = (content: string) => [{ role: "user", content }];
const QUESTIONS: [path: string, body: JsonObject][] = [
  ["/v1/chat/completions", { messages: user("What is the capital of France?"), max_tokens: 30 }],
  [
    "/v1/chat/completions",
    { messages: user("Tell me of lighthouses 😀"), max_completion_tokens: 7, seed: 3 },
  ],
  ["/v1/chat/completions", { messages: user("One"), max_tokens: 1 }],
  ["/v1/completions", { prompt: "The capital of France is" }],
  ["/v1/completions", { prompt: "Once upon a time", max_tokens: 40, seed: 1 }],
  ["/v1/messages", { messages: user("What is the capital of France?"), max_tokens: 30 }],
  ["/v1/messages", { messages: user("Count"), max_tokens: 3, system: "Be brief." }],
  ["/v1/responses", { input: "What is the capital of France?", max_output_tokens: 30 }],
  ["/v1/responses", { input: user("Count"), max_output_tokens: 3, instructions: "Be brief." }],
];

describe.each(QUESTIONS)("%s %j", (path, asked) => {
  const endpoint = endpointForPath(path)!;
  const body: JsonObject = { model: "mine", temperature: 0, ...asked };

  it("gives the same answer aggregated as whole", async () => {
    expect(endpoint.parse(body)).toMatchObject({ ok: true });
    const prepared = endpoint.prepare(body, order);
    expect(prepared.mode).toBe("aggregate");
    const aggregator = endpoint.aggregator(body, order);
    const parser = new SseParser();
    let complete = false;
    for await (const chunk of (await ask(endpoint, prepared.body)).body!) {
      for (const event of parser.push(chunk)) complete ||= aggregator.take(event).end === "complete";
    }
    expect(complete).toBe(true);
    const { stream: _stream, stream_options: _options, ...whole } = prepared.body;
    const answer = (await (await ask(endpoint, whole)).json()) as JsonObject;
    expect(answer.model).toBe("sim-chat");
    const aggregated = JSON.parse(JSON.stringify(aggregator.whole()));
    expect(timeless(aggregated)).toEqual(timeless({ ...answer, model: "mine" }));
  });

  it("gives a streaming client the frames that it would have got itself", async () => {
    for (const options of [undefined, { include_usage: true }]) {
      const choices = path.endsWith("/completions");
      const mine: JsonObject = {
        ...body,
        stream: true,
        ...(choices && options ? { stream_options: options } : {}),
      };
      const reader = endpoint.reader(mine, order);
      const sent = await (await ask(endpoint, endpoint.prepare(mine, order).body)).text();
      const { text, end } = run(reader, new SseParser().push(new TextEncoder().encode(sent)));
      expect(end).toBe("complete");
      const own = await (await ask(endpoint, { ...mine, model: "sim-chat" })).text();
      expect(timeless(framesOf(text))).toEqual(
        timeless(framesOf(own.replaceAll('"model":"sim-chat"', '"model":"mine"'))),
      );
    }
  });
});
