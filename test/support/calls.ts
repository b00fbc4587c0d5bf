import type Anthropic from "@anthropic-ai/sdk";
import type OpenAI from "openai";
import { ChatCompletionStream } from "openai/lib/ChatCompletionStream";
import { expect } from "vitest";
import { STAGES } from "../../src/telemetry/trace.ts";
import type { TestStack } from "./stack.ts";

/** What a client got. `said` is all that its answer says, comparable between a stream and one JSON. */
export interface Told {
  readonly headers: Headers;
  readonly said: unknown;
  /** Tokens as the client was shown them; null where it was shown none. */
  readonly usage: readonly [prompt: number, output: number] | null;
}

/** Makes one request as a client at `location` would. */
export type Ask = (stack: TestStack, location: string) => Promise<Told>;

/** The same request for one JSON and, where there is such a thing, as a stream. */
export interface Call {
  readonly whole: Ask;
  readonly streamed?: Ask;
}

const at = (location: string) => ({ headers: { "x-meridian-dev-location": location } });
const MODEL = { model: "sim-chat", temperature: 0 } as const;

export interface SaidByChat {
  readonly text: string;
  readonly calls: readonly { readonly name: string; readonly arguments: unknown }[];
  readonly finishReason: string;
  readonly logprobs: OpenAI.ChatCompletion.Choice["logprobs"];
}

export function chat(more: Omit<OpenAI.ChatCompletionCreateParamsNonStreaming, "model" | "stream">): Call {
  const body = { ...MODEL, ...more };
  return {
    async whole(stack, location) {
      const { data, response } = await stack
        .openai()
        .chat.completions.create(body, at(location))
        .withResponse();
      return { headers: response.headers, said: data.choices.map(saidBy), usage: tokensOf(data.usage) };
    },
    async streamed(stack, location) {
      const shown = { ...body, stream: true as const, stream_options: { include_usage: true } };
      const { data, response } = await stack
        .openai()
        .chat.completions.create(shown, at(location))
        .withResponse();
      const runner = ChatCompletionStream.fromReadableStream(data.toReadableStream());
      const { choices, usage } = await runner.finalChatCompletion();
      return { headers: response.headers, said: choices.map(saidBy), usage: tokensOf(usage) };
    },
  };
}

function saidBy({ message, finish_reason, logprobs }: OpenAI.ChatCompletion.Choice): SaidByChat {
  const calls = (message.tool_calls ?? []).map((call) => {
    if (call.type !== "function") throw new Error(`a call of type ${call.type}`);
    return { name: call.function.name, arguments: JSON.parse(call.function.arguments) as unknown };
  });
  // Beside a tool call the engine says null in a stream and an empty text in one JSON.
  return { text: message.content ?? "", calls, finishReason: finish_reason, logprobs };
}

function tokensOf(usage: OpenAI.CompletionUsage | null | undefined): Told["usage"] {
  return usage ? [usage.prompt_tokens, usage.completion_tokens] : null;
}

export function completions(prompt: OpenAI.CompletionCreateParams["prompt"]): Call {
  const body = { ...MODEL, max_tokens: 12, prompt };
  return {
    async whole(stack, location) {
      const { data, response } = await stack.openai().completions.create(body, at(location)).withResponse();
      const said = data.choices.map(({ text }) => text);
      return { headers: response.headers, said, usage: tokensOf(data.usage) };
    },
    async streamed(stack, location) {
      const shown = { ...body, stream: true as const, stream_options: { include_usage: true } };
      const { data, response } = await stack.openai().completions.create(shown, at(location)).withResponse();
      const said: string[] = [];
      let usage: Told["usage"] = null;
      for await (const chunk of data) {
        for (const { index, text } of chunk.choices) said[index] = (said[index] ?? "") + text;
        usage = tokensOf(chunk.usage) ?? usage;
      }
      return { headers: response.headers, said, usage };
    },
  };
}

export function responses(more: Omit<OpenAI.Responses.ResponseCreateParamsNonStreaming, "model">): Call {
  const body = { ...MODEL, ...more };
  const usageOf = ({ usage }: OpenAI.Responses.Response): Told["usage"] =>
    usage ? [usage.input_tokens, usage.output_tokens] : null;
  return {
    async whole(stack, location) {
      const { data, response } = await stack.openai().responses.create(body, at(location)).withResponse();
      return { headers: response.headers, said: [data.status, data.output_text], usage: usageOf(data) };
    },
    async streamed(stack, location) {
      const shown = { ...body, stream: true as const };
      const { data, response } = await stack.openai().responses.create(shown, at(location)).withResponse();
      let text = "";
      let whole: OpenAI.Responses.Response | null = null;
      for await (const event of data) {
        if (event.type === "response.output_text.delta") text += event.delta;
        if (event.type === "response.completed") whole = event.response;
      }
      if (whole === null) throw new Error("the stream ended without response.completed");
      return { headers: response.headers, said: [whole.status, text], usage: usageOf(whole) };
    },
  };
}

export function messages(more: Partial<Anthropic.MessageCreateParamsNonStreaming>): Call {
  const prompt = [{ role: "user" as const, content: "A river, please. [len=30]" }];
  const body: Anthropic.MessageCreateParamsNonStreaming = {
    ...MODEL,
    max_tokens: 100,
    messages: prompt,
    ...more,
    stream: false,
  };
  const told = ({ content, stop_reason, usage }: Anthropic.Message, headers: Headers): Told => {
    const said = content.map((block) => {
      if (block.type === "text") return { text: block.text };
      return block.type === "tool_use" ? { tool: block.name, input: block.input } : block;
    });
    const promptTokens = usage.input_tokens + (usage.cache_read_input_tokens ?? 0);
    return { headers, said: [stop_reason, ...said], usage: [promptTokens, usage.output_tokens] };
  };
  return {
    async whole(stack, location) {
      const { data, response } = await stack.anthropic().messages.create(body, at(location)).withResponse();
      return told(data, response.headers);
    },
    async streamed(stack, location) {
      const { stream: _, ...shown } = body;
      const runner = stack.anthropic().messages.stream(shown, at(location));
      const { response } = await runner.withResponse();
      return told(await runner.finalMessage(), response.headers);
    },
  };
}

export function embeddings(more: Pick<OpenAI.EmbeddingCreateParams, "input" | "encoding_format">): Call {
  return {
    async whole(stack, location) {
      const create = stack.openai().embeddings.create({ model: "sim-embed", ...more }, at(location));
      const { data, response } = await create.withResponse();
      const said = data.data.map(({ embedding }) => embedding);
      return { headers: response.headers, said, usage: [data.usage.prompt_tokens, 0] };
    },
  };
}

/** For what no SDK has: one JSON in, one JSON out. */
export function raw(path: string, body: object): Call {
  return {
    async whole(stack, location) {
      const response = await stack.post(path, body, at(location).headers);
      const said = (await response.json()) as { usage?: { prompt_tokens: number } };
      if (response.status !== 200) throw new Error(`${path}: ${response.status} ${JSON.stringify(said)}`);
      const usage = said.usage === undefined ? null : ([said.usage.prompt_tokens, 0] as const);
      return { headers: response.headers, said, usage };
    },
  };
}

const STANDING = {
  openai: {
    "x-ratelimit-limit-tokens": "2000000",
    "x-ratelimit-remaining-requests": expect.stringMatching(/^\d+$/),
    "x-ratelimit-reset-tokens": expect.stringMatching(/^\d[\dms.]*s$/),
  },
  anthropic: {
    "anthropic-ratelimit-tokens-limit": "2000000",
    "anthropic-ratelimit-requests-remaining": expect.stringMatching(/^\d+$/),
    "anthropic-ratelimit-tokens-reset": expect.stringMatching(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$/),
  },
};

/** Checks every header that an answer from `region` has. `endpoint`: as `/metrics` calls it. */
export function expectHeaders({ headers }: Told, endpoint: string, region: string): void {
  const milliseconds = STAGES.map((stage) => `${stage};dur=\\d+(\\.\\d+)?`).join(", ");
  expect(Object.fromEntries(headers)).toMatchObject({
    "x-request-id": expect.stringMatching(/^req_[0-9A-Za-z]{22}$/),
    "x-meridian-region": region,
    "x-meridian-replica": expect.stringMatching(new RegExp(`^${region}-[01]$`)),
    "x-meridian-attempts": "1",
    "x-meridian-route": expect.stringMatching(
      /^(fastest|shared|next);from=coordinates;rtt=\d+;place=\d;of=\d$/,
    ),
    "x-meridian-degraded": "none",
    "x-meridian-cache": "none",
    "server-timing": expect.stringMatching(new RegExp(`^${milliseconds}$`)),
    ...STANDING[endpoint === "messages" ? "anthropic" : "openai"],
  });
}
