import Anthropic from "@anthropic-ai/sdk";
import OpenAI from "openai";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type Replica, startReplica } from "../../../sim/origin/replica.ts";

/** The clients that people really use, pointed straight at the simulated server. */
let replica: Replica;
let openai: OpenAI;
let anthropic: Anthropic;
beforeAll(async () => {
  replica = await startReplica({ speed: 500 });
  openai = new OpenAI({ baseURL: `${replica.url}/v1`, apiKey: "none", maxRetries: 0 });
  anthropic = new Anthropic({ baseURL: replica.url, apiKey: "none", maxRetries: 0 });
});
afterAll(() => replica.close());

const WEATHER = {
  type: "object",
  properties: { city: { type: "string" }, unit: { type: "string", enum: ["C", "F"] } },
  required: ["city", "unit"],
} as const;
const user = (content: string) => [{ role: "user" as const, content }];

describe("openai", () => {
  test("chat, streamed and not, says the same", async () => {
    const request = { model: "sim-chat", messages: user("Say something. [len=40]"), temperature: 0 };
    const whole = await openai.chat.completions.create(request);
    expect(whole.choices[0]?.finish_reason).toBe("stop");
    expect(whole.usage).toMatchObject({ completion_tokens: 41 });
    let text = "";
    let usage: OpenAI.CompletionUsage | null | undefined;
    for await (const chunk of await openai.chat.completions.create({
      ...request,
      stream: true,
      stream_options: { include_usage: true },
    })) {
      text += chunk.choices[0]?.delta.content ?? "";
      usage = chunk.usage ?? usage;
    }
    expect(text).toBe(whole.choices[0]?.message.content);
    expect(usage).toMatchObject({ completion_tokens: 41, prompt_tokens: whole.usage?.prompt_tokens });
  });

  test("a tool call, collected by the SDK", async () => {
    const tools = [{ type: "function" as const, function: { name: "weather", parameters: WEATHER } }];
    const runner = openai.chat.completions.stream({
      model: "sim-chat",
      messages: user("In Paris?"),
      tools,
      tool_choice: "required",
    });
    const choice = (await runner.finalChatCompletion()).choices[0];
    const call = choice?.message.tool_calls?.[0];
    expect(choice?.finish_reason).toBe("tool_calls");
    expect(call?.type === "function" && call.function.name).toBe("weather");
    const whole = await openai.chat.completions.create({
      model: "sim-chat",
      messages: user("In Paris?"),
      tools,
      tool_choice: "required",
    });
    const same = whole.choices[0]?.message.tool_calls?.[0];
    const argumentsOf = (c: typeof same | typeof call) =>
      c?.type === "function" ? (JSON.parse(c.function.arguments) as object) : {};
    expect(argumentsOf(call)).toEqual(argumentsOf(same));
    expect(Object.keys(argumentsOf(call))).toEqual(["city", "unit"]);
  });

  test("auto calls a tool only where the message says so", async () => {
    const tools = [{ type: "function" as const, function: { name: "weather", parameters: WEATHER } }];
    const ask = async (content: string) =>
      (await openai.chat.completions.create({ model: "sim-chat", messages: user(content), tools }))
        .choices[0];
    expect((await ask("Hello [len=5]"))?.message.tool_calls).toBeUndefined();
    expect((await ask("Hello [tool]"))?.finish_reason).toBe("tool_calls");
  });

  test("JSON in the asked shape", async () => {
    const format = { type: "json_schema" as const, json_schema: { name: "w", schema: { ...WEATHER } } };
    const answer = await openai.chat.completions.create({
      model: "sim-chat",
      messages: user("x"),
      response_format: format,
    });
    const value = JSON.parse(answer.choices[0]?.message.content ?? "") as { city: string; unit: string };
    expect(typeof value.city).toBe("string");
    expect(["C", "F"]).toContain(value.unit);
    const any = await openai.chat.completions.create({
      model: "sim-chat",
      messages: user("x"),
      response_format: { type: "json_object" },
    });
    expect(() => JSON.parse(any.choices[0]?.message.content ?? "")).not.toThrow();
  });

  test("responses, streamed and not", async () => {
    const request = { model: "sim-chat", input: "Say something. [len=20]" };
    const whole = await openai.responses.create(request);
    expect(whole.status).toBe("completed");
    const events = [];
    for await (const event of await openai.responses.create({ ...request, stream: true })) events.push(event);
    const last = events.at(-1);
    expect(last?.type).toBe("response.completed");
    expect(last?.type === "response.completed" && last.response.usage?.output_tokens).toBe(21);
    const text = events
      .map((event) => (event.type === "response.output_text.delta" ? event.delta : ""))
      .join("");
    expect(text).toBe(whole.output_text);
    expect(events.map((event) => event.sequence_number)).toEqual(events.map((_, i) => i));
  });

  test("completions, embeddings, models", async () => {
    const completion = await openai.completions.create({
      model: "sim-chat",
      prompt: "Once",
      max_tokens: 12,
      echo: true,
    });
    expect(completion.choices[0]?.text.startsWith("Once")).toBe(true);
    // The SDK asks for base64 and decodes it.
    const { data, usage } = await openai.embeddings.create({
      model: "sim-embed",
      input: ["river and lake", "river and sea", "const x"],
    });
    const [a, b, c] = data.map(({ embedding }) => embedding);
    const dot = (x: number[], y: number[]) => x.reduce((sum, value, i) => sum + value * y[i]!, 0);
    expect(dot(a!, a!)).toBeCloseTo(1, 4);
    expect(dot(a!, b!)).toBeGreaterThan(dot(a!, c!));
    expect(usage.prompt_tokens).toBeGreaterThan(5);
    expect((await openai.models.list()).data.map(({ id }) => id)).toEqual(["sim-chat", "sim-embed"]);
  });

  test("errors are the SDK's own", async () => {
    await expect(
      openai.chat.completions.create({ model: "nope", messages: user("x") }),
    ).rejects.toBeInstanceOf(OpenAI.NotFoundError);
    await expect(
      openai.chat.completions.create({ model: "sim-chat", messages: user("x"), temperature: 9 }),
    ).rejects.toBeInstanceOf(OpenAI.BadRequestError);
    replica.setFaults({ status: { code: 429, count: 1 } });
    await expect(
      openai.chat.completions.create({ model: "sim-chat", messages: user("x") }),
    ).rejects.toBeInstanceOf(OpenAI.RateLimitError);
  });
});

describe("anthropic", () => {
  test("messages, streamed and not, say the same", async () => {
    const request = { model: "sim-chat", max_tokens: 100, messages: user("Say something. [len=30]") };
    const whole = await anthropic.messages.create(request);
    const streamed = await anthropic.messages.stream(request).finalMessage();
    expect(streamed.content).toEqual(whole.content);
    expect(whole.stop_reason).toBe("end_turn");
    expect(streamed.usage.output_tokens).toBe(31);
    expect(whole.usage.output_tokens).toBe(31);
  });

  test("a tool call", async () => {
    const tools = [{ name: "weather", description: "The weather", input_schema: WEATHER }];
    const request = {
      model: "sim-chat",
      max_tokens: 200,
      messages: user("In Paris?"),
      tools: tools as unknown as Anthropic.Tool[],
      tool_choice: { type: "any" as const },
    };
    const streamed = await anthropic.messages.stream(request).finalMessage();
    const whole = await anthropic.messages.create(request);
    for (const { content, stop_reason } of [streamed, whole]) {
      expect(stop_reason).toBe("tool_use");
      expect(content[0]).toMatchObject({
        type: "tool_use",
        name: "weather",
        input: { city: expect.any(String), unit: expect.any(String) },
      });
    }
  });

  test("a stop sequence, a system prompt, a count", async () => {
    const request = { model: "sim-chat", max_tokens: 100, system: "Be brief.", messages: user("x [len=30]") };
    const full = await anthropic.messages.create(request);
    const text = full.content[0]?.type === "text" ? full.content[0].text : "";
    const word = text.split(" ")[3]!;
    const cut = await anthropic.messages.create({ ...request, stop_sequences: [` ${word}`] });
    expect(cut).toMatchObject({ stop_reason: "stop_sequence", stop_sequence: ` ${word}` });
    const { input_tokens } = await anthropic.messages.countTokens({
      model: "sim-chat",
      system: "Be brief.",
      messages: user("x [len=30]"),
    });
    expect(input_tokens).toBe(full.usage.input_tokens + (full.usage.cache_read_input_tokens ?? 0));
  });
});
