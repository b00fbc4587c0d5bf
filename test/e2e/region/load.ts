import OpenAI from "openai";
import type { Region } from "./region.ts";

export interface Asked {
  /** x-request-id of its answer. */
  readonly id: string;
  readonly error: string | null;
  readonly endedAtMs: number;
  /** As the client was shown them at the end; null where the stream broke. */
  readonly usage: { readonly promptTokens: number; readonly outputTokens: number } | null;
}

/** Streams that follow one another, several at a time, until they are told to stop. */
export class Load {
  readonly asked: Asked[] = [];
  readonly #client: OpenAI;
  readonly #lanes: Promise<void>[];
  #stopping = false;
  #number = 0;

  constructor(region: Region, lanes: number) {
    this.#client = new OpenAI({ baseURL: `${region.baseUrl}/v1`, apiKey: region.key, maxRetries: 0 });
    this.#lanes = Array.from({ length: lanes }, () => this.#lane());
  }

  get errors(): string[] {
    return this.asked.flatMap(({ error }) => (error === null ? [] : [error]));
  }

  async stop(): Promise<readonly Asked[]> {
    this.#stopping = true;
    await Promise.all(this.#lanes);
    return this.asked;
  }

  async #lane(): Promise<void> {
    while (!this.#stopping) this.asked.push(await this.#ask(++this.#number));
  }

  async #ask(number: number): Promise<Asked> {
    let id = "";
    try {
      const content = `Story ${number}, please. [len=${30 + (number % 40)}]`;
      const { data, response } = await this.#client.chat.completions
        .create({
          model: "sim-chat",
          stream: true,
          stream_options: { include_usage: true },
          messages: [{ role: "user", content }],
        })
        .withResponse();
      id = response.headers.get("x-request-id") ?? "";
      let usage: Asked["usage"] = null;
      for await (const chunk of data) {
        if (!chunk.usage) continue;
        usage = { promptTokens: chunk.usage.prompt_tokens, outputTokens: chunk.usage.completion_tokens };
      }
      const error = usage === null ? "a stream that ended without usage" : null;
      return { id, usage, error, endedAtMs: Date.now() };
    } catch (error) {
      // Not in a circle without a rest while everything is refused.
      await new Promise((resolve) => setTimeout(resolve, 20));
      return { id, usage: null, error: String(error), endedAtMs: Date.now() };
    }
  }
}
