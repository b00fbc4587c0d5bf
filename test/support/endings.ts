import { request } from "node:http";
import { APIError } from "openai";
import { type StackPlan, simulatedPlan } from "../../sim/stack/plan.ts";
import type { LedgerEntry, TestStack } from "./stack.ts";

/** Where clients are, by the region that is nearest to them. */
export const NEAR = { "us-east": "NA/40/-75", "eu-west": "EU/50/4", "ap-southeast": "AS/2/104" } as const;
export type Region = keyof typeof NEAR;

/** The same engines under a name whose silence is noticed soon. */
export const QUICK = "sim-quick";
export const QUICK_MODEL: StackPlan["models"][number] = {
  id: QUICK,
  kind: "generate",
  servedName: "sim-chat",
  contextTokens: 32_768,
  firstTokenTimeoutMs: 800,
  tokenGapTimeoutMs: 800,
};

/** Three replicas in the first region, so that two attempts do not exhaust it; one each in the others. */
export function faultsPlan(): StackPlan {
  const plan = simulatedPlan(1);
  return {
    models: [...plan.models, QUICK_MODEL],
    regions: plan.regions.map((region) => (region.name === "us-east" ? { ...region, replicas: 3 } : region)),
  };
}

export interface Ask {
  readonly prompt: string;
  readonly stream: boolean;
  readonly model?: string;
  readonly from?: Region;
  readonly key?: string;
  /** Usage in every chunk, as vLLM offers it. */
  readonly continuousUsage?: boolean;
  /** Called after each streamed chunk; true: the client leaves. */
  onChunk?(chunks: number): boolean | Promise<boolean>;
}

/** What the user of the SDK got, and the bytes below it. */
export interface Seen {
  readonly status: number;
  readonly headers: Headers;
  readonly raw: string;
  readonly text: string;
  /** Streamed chunks with text. */
  readonly chunks: number;
  readonly finishReason: string | null;
  readonly usage: { readonly prompt_tokens: number; readonly completion_tokens: number } | null;
  readonly error: unknown;
}

/** One chat completion by the unmodified SDK, without its own retries. Never rejects. */
export async function chat(stack: TestStack, ask: Ask): Promise<Seen> {
  const { stream, prompt, model = "sim-chat", from = "us-east", key } = ask;
  const wire = new Wire();
  const client = stack
    .openai({ location: NEAR[from], ...(key === undefined ? {} : { key }) })
    .withOptions({ fetch: (url, init) => wire.fetch(url as string, init as RequestInit) });
  const messages = [{ role: "user" as const, content: prompt }];
  const seen = {
    text: "",
    chunks: 0,
    finishReason: null as string | null,
    usage: null as Seen["usage"],
    error: null as unknown,
  };
  try {
    if (stream) {
      const options = { include_usage: true, continuous_usage_stats: true };
      const more = ask.continuousUsage ? { stream_options: options } : {};
      // With a seed it is not carried on elsewhere when it breaks off (resume.test.ts is about those that are).
      const body = { model, messages, stream: true as const, seed: 1, ...more };
      const answer = await client.chat.completions.create(body);
      for await (const { choices, usage } of answer) {
        seen.usage = usage ?? seen.usage;
        const content = choices[0]?.delta.content ?? "";
        seen.text += content;
        seen.chunks += content === "" ? 0 : 1;
        seen.finishReason ??= choices[0]?.finish_reason ?? null;
        if (await ask.onChunk?.(seen.chunks)) answer.controller.abort();
      }
    } else {
      const answer = await client.chat.completions.create({ model, messages });
      seen.text = answer.choices[0]?.message.content ?? "";
      seen.finishReason = answer.choices[0]?.finish_reason ?? null;
      seen.usage = answer.usage ?? null;
    }
  } catch (error) {
    seen.error = error;
  }
  return { ...seen, status: wire.status, headers: wire.headers, raw: await wire.text };
}

/** Listens in on what the SDK receives. */
class Wire {
  status = 0;
  headers = new Headers();
  text: Promise<string> = Promise.resolve("");

  async fetch(url: string, init: RequestInit): Promise<Response> {
    const response = await fetch(url, init);
    this.status = response.status;
    this.headers = response.headers;
    if (response.body === null) return response;
    const [sdk, mine] = response.body.tee();
    this.text = readAll(mine);
    return new Response(sdk, { status: response.status, headers: response.headers });
  }
}

async function readAll(body: ReadableStream<Uint8Array>): Promise<string> {
  const decoder = new TextDecoder();
  let text = "";
  try {
    for await (const piece of body) text += decoder.decode(piece, { stream: true });
  } catch {
    // Cut off: what came until then is what counts.
  }
  return text;
}

/** The code of the error that the SDK threw, or what it was instead. */
export function codeOf({ error }: Seen): unknown {
  return error instanceof APIError ? error.code : error;
}

/**
 * A client that leaves before its answer began, as HTTP clients do: it closes its connection. The stack's front turns
 * that into the reset that workerd notices at once (sim/stack/front.ts).
 */
export function startAndLeave(
  stack: TestStack,
  ask: Ask,
): { leave(): void; readonly ended: Promise<unknown> } {
  const { prompt, stream, model = "sim-chat", from = "us-east", key = stack.info.tenant.key } = ask;
  const call = request(`${stack.info.baseUrl}/v1/chat/completions`, {
    method: "POST",
    agent: false,
    headers: {
      authorization: `Bearer ${key}`,
      "content-type": "application/json",
      "x-meridian-dev-location": NEAR[from],
    },
  });
  const ended = new Promise((resolve) => {
    call.on("error", resolve);
    call.on("response", (answer) => answer.resume().on("error", resolve).on("end", resolve));
  });
  call.end(JSON.stringify({ model, stream, messages: [{ role: "user", content: prompt }] }));
  return { leave: () => void call.destroy(), ended };
}

/** A prompt that no other case uses, so that faults strike this one only. */
let cases = 0;
export function newCase(lengthTokens = 20): { marker: string; prompt: string } {
  const marker = `case-${String(++cases).padStart(4, "0")}`;
  return { marker, prompt: `${marker}: tell me a story. [len=${lengthTokens}]` };
}

type Faults = Record<string, Record<string, unknown>>;

/** Puts faults in force at every replica of a region, for one case's requests. */
export async function faultRegion(
  stack: TestStack,
  region: string,
  faults: Faults,
  match: string,
): Promise<void> {
  const limited = Object.fromEntries(Object.entries(faults).map(([name, how]) => [name, { ...how, match }]));
  await Promise.all(replicasOf(stack, region).map(({ id }) => stack.fault(id, limited)));
}

export function replicasOf(stack: TestStack, region: string) {
  return stack.info.regions.find(({ name }) => name === region)!.replicas;
}

/** The ledgers' entries of one request, in no order. */
export async function entriesOf(stack: TestStack, requestId: string): Promise<LedgerEntry[]> {
  const { entries } = await stack.ledgers();
  return entries.filter(({ id }) => id === requestId || id.startsWith(`${requestId}#`));
}
