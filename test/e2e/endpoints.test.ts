import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { books, metrics, settledUsage } from "../support/books.ts";
import {
  type Call,
  chat,
  completions,
  embeddings,
  expectHeaders,
  messages,
  raw,
  responses,
  type SaidByChat,
} from "../support/calls.ts";
import { eventually, type TestStack, testStack } from "../support/stack.ts";

/**
 * Every endpoint with the clients that people really use: the same answer streamed and not, from the nearest
 * region, with every header, charged to the token, and counted.
 */
let stack: TestStack;
beforeAll(async () => {
  stack = await testStack({ simArgs: ["--speed", "10"] });
});
afterAll(() => stack?.end());

interface Case extends Call {
  readonly name: string;
  /** As `/metrics` calls it. */
  readonly endpoint: string;
  says?(said: never): void;
}

const REGIONS = [
  { location: "NA/40/-75", region: "us-east" },
  { location: "EU/50/4", region: "eu-west" },
  { location: "AS/10/105", region: "ap-southeast" },
] as const;

const user = (content: string) => [{ role: "user" as const, content }];
const RIVER = user("Tell me of a river, and of what it carries. [len=40]");
const CITY = { type: "object", properties: { city: { type: "string" } }, required: ["city"] } as const;
const ANY_CITY = { city: expect.any(String) };
const WEATHER = { type: "function", function: { name: "weather", parameters: CITY } } as const;
const CITY_FORMAT = { type: "json_schema", json_schema: { name: "city", schema: { ...CITY } } } as const;
const ANTHROPIC_TOOLS = {
  tools: [{ name: "weather", input_schema: { ...CITY, required: ["city"] } }],
  tool_choice: { type: "any" as const },
};
const DOCUMENTS = ["the tax on salt", "a river in spring"];

type Choices = readonly [SaidByChat, ...SaidByChat[]];

const CHAT: readonly (Call & { name: string; says(choices: Choices): void })[] = [
  {
    name: "plain",
    ...chat({ messages: RIVER }),
    says: ([{ text, finishReason }]) =>
      expect([finishReason, text]).toEqual(["stop", expect.stringMatching(/.{60}/)]),
  },
  {
    name: "a system message and a history",
    ...chat({
      messages: [
        { role: "system", content: "Be brief." },
        ...user("Hello"),
        { role: "assistant", content: "Yes?" },
        ...user("Go on. [len=9]"),
      ],
    }),
    says: ([{ finishReason }]) => expect(finishReason).toBe("stop"),
  },
  {
    name: "max_tokens",
    ...chat({ messages: RIVER, max_tokens: 7 }),
    says: ([{ finishReason }]) => expect(finishReason).toBe("length"),
  },
  {
    name: "n = 2",
    // Engines refuse several choices of the one most likely text.
    ...chat({ messages: RIVER, n: 2, temperature: 1 }),
    says: ([one, other]) => expect(other?.text).not.toBe(one.text),
  },
  {
    name: "stop",
    ...chat({ messages: RIVER, stop: ["e"] }),
    says: ([{ text, finishReason }]) => {
      expect(finishReason).toBe("stop");
      expect(text).not.toContain("e");
    },
  },
  {
    name: "logprobs",
    ...chat({ messages: RIVER, logprobs: true, top_logprobs: 2, max_tokens: 8 }),
    says: ([{ text, logprobs }]) => {
      const tokens = logprobs?.content ?? [];
      expect(tokens.map(({ token }) => token).join("")).toBe(text);
      expect(tokens[0]?.top_logprobs).toHaveLength(2);
    },
  },
  {
    name: "a tool that must be called",
    ...chat({ messages: user("In Paris?"), tools: [WEATHER], tool_choice: "required" }),
    says: ([{ calls }]) => expect(calls).toEqual([{ name: "weather", arguments: ANY_CITY }]),
  },
  {
    name: "any JSON",
    ...chat({ messages: user("x"), response_format: { type: "json_object" } }),
    says: ([{ text }]) => expect(JSON.parse(text)).toBeTypeOf("object"),
  },
  {
    name: "JSON by a schema",
    ...chat({ messages: user("x"), response_format: CITY_FORMAT }),
    says: ([{ text }]) => expect(JSON.parse(text)).toEqual(ANY_CITY),
  },
];

const CASES: readonly Case[] = [
  ...CHAT.map((one) => ({ ...one, endpoint: "chat" })),
  { endpoint: "completions", name: "a text", ...completions("Once upon a time") },
  { endpoint: "completions", name: "two texts", ...completions(["Once upon a", "There was a"]) },
  { endpoint: "completions", name: "token ids", ...completions([9507, 3993, 12409]) },
  { endpoint: "completions", name: "two lists of token ids", ...completions([[9507, 3993], [12409]]) },
  {
    endpoint: "responses",
    name: "a text",
    ...responses({ input: "Tell me of a river. [len=40]" }),
    says: (said) => expect(said).toEqual(["completed", expect.stringMatching(/.{60}/)]),
  },
  {
    endpoint: "responses",
    name: "instructions and messages",
    ...responses({ instructions: "Be brief.", input: user("Hello [len=9]") }),
  },
  {
    endpoint: "messages",
    name: "plain",
    ...messages({}),
    says: (said) => expect(said).toEqual(["end_turn", { text: expect.stringMatching(/.{60}/) }]),
  },
  { endpoint: "messages", name: "a system prompt", ...messages({ system: "Be brief." }) },
  {
    endpoint: "messages",
    name: "a tool that must be called",
    ...messages(ANTHROPIC_TOOLS),
    says: (said) => expect(said).toEqual(["tool_use", { tool: "weather", input: ANY_CITY }]),
  },
  ...(["base64", "float"] as const).map((encoding_format) => ({
    endpoint: "embeddings",
    name: encoding_format,
    ...embeddings({ input: ["river and lake", "tax"], encoding_format }),
  })),
  {
    endpoint: "embeddings",
    name: "a text, decoded by the SDK",
    ...embeddings({ input: "river" }),
    says: (said: number[][]) => expect(Math.hypot(...said[0]!)).toBeCloseTo(1, 3),
  },
  { endpoint: "embeddings", name: "token ids", ...embeddings({ input: [9507, 3993] }) },
  {
    endpoint: "rerank",
    name: "two documents",
    ...raw("/v1/rerank", { model: "sim-embed", query: "the river", documents: DOCUMENTS }),
    says: ({ results }: { results: { index: number; relevance_score: number }[] }) => {
      expect(results.map(({ index }) => index).sort()).toEqual([0, 1]);
      expect(results[0]!.relevance_score).toBeGreaterThan(results[1]!.relevance_score);
    },
  },
  {
    endpoint: "score",
    name: "one against two",
    ...raw("/v1/score", { model: "sim-embed", text_1: "the river", text_2: DOCUMENTS }),
    says: (said) => expect(said).toMatchObject({ data: [{ index: 0 }, { index: 1 }] }),
  },
  {
    endpoint: "tokenize",
    name: "a text",
    ...raw("/v1/tokenize", { model: "sim-chat", prompt: "hello there" }),
    says: (said) =>
      expect(said).toMatchObject({ count: 2, tokens: [expect.any(Number), expect.any(Number)] }),
  },
  {
    endpoint: "tokenize",
    name: "messages",
    ...raw("/v1/tokenize", { model: "sim-chat", messages: RIVER }),
  },
];

describe.each(CASES.map((one, index) => ({ ...one, ...REGIONS[index % 3]! })))(
  "$endpoint: $name",
  ({ endpoint, location, region, says, whole, streamed }) => {
    it(`${streamed ? "says the same streamed and not, " : ""}from ${region}, and is charged to the token`, async () => {
      const before = await eventually(
        () => books(stack, endpoint),
        ({ open }) => open === 0,
      );
      const told = [await whole(stack, location)];
      if (streamed) told.push(await streamed(stack, location));
      for (const one of told) {
        expectHeaders(one, endpoint, region);
        expect(one.said).toEqual(told[0]!.said);
        says?.(one.said as never);
      }
      const requests = told.length;
      const after = await eventually(
        () => books(stack, endpoint),
        (now) =>
          now.open === 0 &&
          now.requests === before.requests + requests &&
          now.counted === before.counted + requests,
      );
      expect(after).toMatchObject({
        open: 0,
        requests: before.requests + requests,
        counted: before.counted + requests,
      });
      expect(after.billed).toEqual(after.ledger);
      for (const { headers, usage } of told) {
        const entry = after.entries.find(({ id }) => id === headers.get("x-request-id"));
        // What tokenize says costs nothing: nothing reaches the GPU.
        if (endpoint === "tokenize") expect([entry, usage]).toEqual([undefined, null]);
        else expect(usage).toEqual([entry?.promptTokens, entry?.outputTokens]);
      }
    });
  },
);

describe("what a stream shows of its usage", () => {
  const chunksOf = async (options?: { include_usage?: boolean; continuous_usage_stats?: boolean }) => {
    const shown = options === undefined ? {} : { stream_options: options };
    const body = { model: "sim-chat", messages: RIVER, stream: true as const, ...shown };
    const chunks = [];
    for await (const chunk of await stack.openai().chat.completions.create(body)) chunks.push(chunk);
    return chunks;
  };

  it.each([undefined, {}, { include_usage: false }])(
    "nothing to a client that asks with %j",
    async (options) => {
      const chunks = await chunksOf(options);
      expect(chunks.filter(({ usage, choices }) => usage || choices.length === 0)).toEqual([]);
      expect(chunks.at(-1)?.choices[0]?.finish_reason).toBe("stop");
    },
  );

  it("one last chunk to a client that asks for it, running counts only to one that asks for those", async () => {
    const once = await chunksOf({ include_usage: true });
    expect(once.filter(({ usage }) => usage)).toEqual([once.at(-1)]);
    expect(once.at(-1)).toMatchObject({ choices: [], usage: { completion_tokens: 41 } });
    const running = await chunksOf({ include_usage: true, continuous_usage_stats: true });
    expect(running.every(({ usage }) => usage)).toBe(true);
  });
});

it("an image in a data: URL reaches the engine, whose word on it comes back and costs nothing", async () => {
  const client = stack.openai({ key: await stack.tenant("images", {}) });
  const image = { type: "image_url" as const, image_url: { url: "data:image/png;base64,iVBORw0KGgo=" } };
  const body = { model: "sim-chat", messages: [{ role: "user" as const, content: [image] }] };
  const refusal = await client.chat.completions.create(body).catch((error: unknown) => error);
  expect(refusal).toMatchObject({
    status: 400,
    message: expect.stringContaining("not a multimodal model"),
    headers: expect.toSatisfy((headers: Headers) => headers.has("x-meridian-replica")),
  });
  const { totals, open } = await settledUsage(stack, "images");
  expect(open).toEqual({ reservations: 0, running: 0, reservedTokens: 0 });
  expect(totals).toEqual({ promptTokens: 0, cachedTokens: 0, outputTokens: 0, requests: 1 });
});

it("lists the models, and says that it is well", async () => {
  const models = [];
  for await (const model of stack.openai().models.list()) models.push(model);
  expect(models).toMatchObject([{ id: "sim-chat", object: "model" }, { id: "sim-embed" }]);
  expect(await stack.openai().models.retrieve("sim-chat")).toMatchObject({ id: "sim-chat", object: "model" });
  await expect(stack.openai().models.retrieve("no%-such")).rejects.toMatchObject({ status: 404 });
  const json = async (path: string) => (await fetch(`${stack.info.baseUrl}${path}`)).json();
  expect(await json("/health")).toEqual({ status: "ok" });
  expect(await json("/ready")).toMatchObject({ ready: true, models: 2, pools: 3, usable: 12 });
  const page = await metrics(stack);
  expect(page.headers.get("content-type")).toBe("text/plain; version=0.0.4; charset=utf-8");
  expect(await page.text()).toMatch(/^meridian_pool_replicas_usable\{pool="eu-west",model="sim-chat"\} 2$/m);
});
