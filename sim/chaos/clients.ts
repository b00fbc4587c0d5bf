import Anthropic from "@anthropic-ai/sdk";
import OpenAI from "openai";
import type { Request } from "./work.ts";

/** What a client got. */
export interface Got {
  readonly text: string;
  readonly finish: string | null;
  readonly promptTokens: number;
  readonly outputTokens: number;
  readonly requestId: string;
}

export interface Server {
  /** Without `/v1`. */
  readonly url: string;
  readonly key: string;
}

/** One request by an unmodified SDK, without its own retries. Rejects as the SDK does. */
export async function ask(server: Server, request: Request): Promise<Got> {
  const headers = { "x-meridian-dev-location": request.location };
  const openai = new OpenAI({
    baseURL: `${server.url}/v1`,
    apiKey: server.key,
    maxRetries: 0,
    defaultHeaders: headers,
  });
  switch (request.endpoint) {
    case "chat":
      return chat(openai, request);
    case "completions":
      return completions(openai, request);
    case "responses":
      return responses(openai, request);
    case "messages":
      return messages(
        new Anthropic({ baseURL: server.url, apiKey: server.key, maxRetries: 0, defaultHeaders: headers }),
        request,
      );
  }
}

const MODEL = { model: "sim-chat", temperature: 0 } as const;
const idOf = (response: Response) => response.headers.get("x-request-id") ?? "";

async function chat(client: OpenAI, { text, maxTokens, stream }: Request): Promise<Got> {
  const body = { ...MODEL, max_tokens: maxTokens, messages: [{ role: "user" as const, content: text }] };
  if (!stream) {
    const { data, response } = await client.chat.completions.create(body).withResponse();
    const choice = data.choices[0]!;
    return got(choice.message.content ?? "", choice.finish_reason, data.usage, response);
  }
  const options = { stream: true as const, stream_options: { include_usage: true } };
  const { data, response } = await client.chat.completions.create({ ...body, ...options }).withResponse();
  let said = "";
  let finish: string | null = null;
  let usage: OpenAI.CompletionUsage | null | undefined;
  for await (const chunk of data) {
    said += chunk.choices[0]?.delta.content ?? "";
    finish = chunk.choices[0]?.finish_reason ?? finish;
    usage = chunk.usage ?? usage;
  }
  return got(said, finish, usage, response);
}

async function completions(client: OpenAI, { text, maxTokens, stream }: Request): Promise<Got> {
  const body = { ...MODEL, max_tokens: maxTokens, prompt: text };
  if (!stream) {
    const { data, response } = await client.completions.create(body).withResponse();
    return got(data.choices[0]!.text, data.choices[0]!.finish_reason, data.usage, response);
  }
  const options = { stream: true as const, stream_options: { include_usage: true } };
  const { data, response } = await client.completions.create({ ...body, ...options }).withResponse();
  let said = "";
  let finish: string | null = null;
  let usage: OpenAI.CompletionUsage | null | undefined;
  for await (const chunk of data) {
    said += chunk.choices[0]?.text ?? "";
    finish = chunk.choices[0]?.finish_reason ?? finish;
    usage = chunk.usage ?? usage;
  }
  return got(said, finish, usage, response);
}

function got(
  text: string,
  finish: string | null,
  usage: OpenAI.CompletionUsage | null | undefined,
  response: Response,
): Got {
  const promptTokens = usage?.prompt_tokens ?? -1;
  const outputTokens = usage?.completion_tokens ?? -1;
  return { text, finish, promptTokens, outputTokens, requestId: idOf(response) };
}

async function responses(client: OpenAI, { text, maxTokens, stream }: Request): Promise<Got> {
  const body = { ...MODEL, max_output_tokens: maxTokens, input: text };
  const of = (whole: OpenAI.Responses.Response, said: string, response: Response): Got => ({
    text: said,
    finish: whole.status ?? null,
    promptTokens: whole.usage?.input_tokens ?? -1,
    outputTokens: whole.usage?.output_tokens ?? -1,
    requestId: idOf(response),
  });
  if (!stream) {
    const { data, response } = await client.responses.create(body).withResponse();
    return of(data, data.output_text, response);
  }
  const { data, response } = await client.responses.create({ ...body, stream: true }).withResponse();
  let said = "";
  for await (const event of data) {
    if (event.type === "response.output_text.delta") said += event.delta;
    if (event.type === "response.completed") return of(event.response, said, response);
  }
  throw new Error("the stream ended without response.completed");
}

async function messages(client: Anthropic, { text, maxTokens, stream }: Request): Promise<Got> {
  const body = { ...MODEL, max_tokens: maxTokens, messages: [{ role: "user" as const, content: text }] };
  const of = (whole: Anthropic.Message, response: Response): Got => ({
    text: whole.content.map((block) => (block.type === "text" ? block.text : "")).join(""),
    finish: whole.stop_reason,
    promptTokens: whole.usage.input_tokens + (whole.usage.cache_read_input_tokens ?? 0),
    outputTokens: whole.usage.output_tokens,
    requestId: idOf(response),
  });
  if (!stream) {
    const { data, response } = await client.messages.create(body).withResponse();
    return of(data, response);
  }
  const runner = client.messages.stream(body);
  const { response } = await runner.withResponse();
  return of(await runner.finalMessage(), response);
}
