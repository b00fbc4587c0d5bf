import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import Anthropic from "@anthropic-ai/sdk";
import OpenAI from "openai";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { Endpoint, JsonObject } from "../../../src/engine/endpoint.ts";
import { endpointForPath } from "../../../src/engine/endpoints.ts";
import type { Failure } from "../../../src/errors.ts";
import { eventsOf, fixture, ORDER, run } from "./support.ts";

/** What the readers write by themselves must be read by the unmodified SDKs as what it is. */

let server: Server;
let body = "";
let openai: OpenAI;
let anthropic: Anthropic;

beforeAll(async () => {
  server = createServer((req, res) => {
    req.resume();
    res.writeHead(200, { "content-type": "text/event-stream; charset=utf-8" }).end(body);
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const baseURL = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  openai = new OpenAI({ baseURL: `${baseURL}/v1`, apiKey: "none", maxRetries: 0 });
  anthropic = new Anthropic({ baseURL, apiKey: "none", maxRetries: 0 });
});

afterAll(() => {
  server.closeAllConnections();
  server.close();
});

const BROKEN: Failure = { tag: "stream_broken", internalDetail: "a test" };

interface Case {
  readonly path: string;
  readonly file: string;
  readonly request: JsonObject;
  /** Reads the whole body as a client does; throws where the SDK throws. */
  read(): Promise<{ text: string; finish: unknown; outputTokens: number | undefined }>;
}

const ASKED = { model: "smol", messages: [{ role: "user" as const, content: "hi" }] };

const CASES: Case[] = [
  {
    path: "/v1/chat/completions",
    file: "chat-stream-continuous-usage.sse",
    request: { ...ASKED, stream_options: { include_usage: true } },
    async read() {
      const stream = openai.chat.completions.stream({ ...ASKED, stream_options: { include_usage: true } });
      const whole = await stream.finalChatCompletion();
      const [choice] = whole.choices;
      return {
        text: choice?.message.content ?? "",
        finish: choice?.finish_reason,
        outputTokens: whole.usage?.completion_tokens,
      };
    },
  },
  {
    path: "/v1/completions",
    file: "completions-stream-continuous-usage.sse",
    request: { model: "smol", prompt: "hi", stream_options: { include_usage: true } },
    async read() {
      const stream = await openai.completions.create({
        model: "smol",
        prompt: "hi",
        stream: true,
        stream_options: { include_usage: true },
      });
      let text = "";
      let finish: unknown = null;
      let outputTokens: number | undefined;
      for await (const chunk of stream) {
        text += chunk.choices[0]?.text ?? "";
        finish = chunk.choices[0]?.finish_reason ?? finish;
        outputTokens = chunk.usage?.completion_tokens ?? outputTokens;
      }
      return { text, finish, outputTokens };
    },
  },
  {
    path: "/v1/responses",
    file: "responses-stream.sse",
    request: { model: "smol", input: "hi" },
    async read() {
      const whole = await openai.responses.stream({ model: "smol", input: "hi" }).finalResponse();
      return {
        text: whole.output_text,
        finish: whole.incomplete_details?.reason ?? whole.status,
        outputTokens: whole.usage?.output_tokens,
      };
    },
  },
  {
    path: "/v1/messages",
    file: "messages-stream.sse",
    request: { ...ASKED, max_tokens: 12 },
    async read() {
      const whole = await anthropic.messages.stream({ ...ASKED, max_tokens: 12 }).finalMessage();
      const text = whole.content.map((block) => (block.type === "text" ? block.text : "")).join("");
      return { text, finish: whole.stop_reason, outputTokens: whole.usage.output_tokens };
    },
  },
];

const STOPPED: Record<string, string> = {
  "/v1/chat/completions": "length",
  "/v1/completions": "length",
  "/v1/responses": "max_output_tokens",
  "/v1/messages": "max_tokens",
};

function readerOf(one: Case) {
  const endpoint: Endpoint = endpointForPath(one.path)!;
  return endpoint.reader({ ...one.request, stream: true }, ORDER);
}

describe.each(CASES)("$path", (one) => {
  const events = eventsOf(fixture(one.file));

  it("passes a whole stream", async () => {
    const reader = readerOf(one);
    body = run(reader, events).text;
    const { text, finish, outputTokens } = await one.read();
    expect(text.length).toBeGreaterThan(10);
    expect(["stop", "length", "completed", "end_turn"]).toContain(finish);
    expect(outputTokens).toBe(reader.usage().outputTokens);
  });

  it("ends a stopped stream properly, wherever it was stopped", async () => {
    body = run(readerOf(one), events).text;
    const whole = await one.read();
    for (let taken = 0; taken < events.length - 2; taken++) {
      const reader = readerOf(one);
      body = run(reader, events.slice(0, taken)).text + reader.stopNow();
      const { text, finish, outputTokens } = await one.read();
      expect(outputTokens).toBe(reader.usage().outputTokens);
      expect([text, whole.text.startsWith(text)]).toEqual([text, true]);
      const told = events.slice(0, taken).some((event) => /"(?:finish|stop)_reason":"/.test(event.data));
      if (!told) expect(finish).toBe(STOPPED[one.path]);
    }
  });

  it("breaks a failed stream with an error, wherever it failed", async () => {
    for (let taken = 0; taken < events.length - 1; taken++) {
      const reader = readerOf(one);
      const written = reader.failNow(BROKEN);
      expect(written).not.toContain("[DONE]");
      expect(written).not.toContain("a test");
      body = run(reader, events.slice(0, taken)).text + written;
      await expect(one.read()).rejects.toThrow(/broke off/);
    }
  });

  it("does not let a cut stream look whole", async () => {
    const reader = readerOf(one);
    const { text, end } = run(reader, events.slice(0, events.length - 1));
    expect(end).toBeUndefined();
    expect(text).not.toMatch(/\[DONE\]|message_stop|response\.completed/);
  });
});

describe("a tool call that is cut short", () => {
  it("is never a call that could be run", async () => {
    const file = "responses-stream-tool.sse";
    const events = eventsOf(fixture(file));
    for (let taken = 3; taken < events.length - 3; taken++) {
      const reader = endpointForPath("/v1/responses")!.reader({ model: "smol", input: "hi" }, ORDER);
      body = run(reader, events.slice(0, taken)).text + reader.stopNow();
      const whole = await openai.responses.stream({ model: "smol", input: "hi" }).finalResponse();
      expect(whole).toMatchObject({
        status: "incomplete",
        output: [{ type: "function_call", status: "incomplete" }],
      });
    }
  });

  it("says so in the other grammars too", async () => {
    const chat = endpointForPath("/v1/chat/completions")!.reader(ASKED, ORDER);
    const calls = eventsOf(fixture("chat-stream-tool-required.sse"));
    body = run(chat, calls.slice(0, 4)).text + chat.stopNow();
    const completion = await openai.chat.completions.stream(ASKED).finalChatCompletion();
    expect(completion.choices[0]?.finish_reason).toBe("length");
    const messages = endpointForPath("/v1/messages")!.reader({ ...ASKED, max_tokens: 9 }, ORDER);
    const blocks = eventsOf(fixture("messages-stream-tool.sse"));
    const stop = blocks.findIndex((event) => event.event === "content_block_stop");
    body = run(messages, blocks.slice(0, stop)).text + messages.stopNow();
    const message = await anthropic.messages.stream({ ...ASKED, max_tokens: 9 }).finalMessage();
    expect(message.stop_reason).toBe("max_tokens");
  });
});

describe("stopping twice", () => {
  it.each(CASES)("$path writes nothing the second time", (one) => {
    const reader = readerOf(one);
    expect(reader.stopNow()).not.toBe("");
    expect(reader.stopNow()).toBe("");
    expect(reader.take(eventsOf(fixture(one.file))[0]!)).toEqual({ forward: "", progressed: false });
  });
});
