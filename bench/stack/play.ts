import OpenAI from "openai";
import type { TraceLine } from "../../sim/fleet/trace.ts";
import type { Stack } from "../../sim/stack/stack.ts";
import type { PolicyName } from "../../src/catalogue/policy.ts";
import { promptOf } from "./prompts.ts";

/** What came of all requests under one policy. */
export interface Played {
  readonly policy: PolicyName;
  readonly meanMs: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
  /** Of the prompts' tokens, by the engines' own ledgers. */
  readonly cachedShare: number;
  /** The same as clients are told in `usage`. */
  readonly toldShare: number;
  /** Time to first token per uncached token, as the pool has learned it; null: it has not. */
  readonly learnedMsPerToken: number | null;
  readonly errors: number;
}

interface Answered {
  readonly firstTokenMs: number;
  readonly promptTokens: number;
  readonly cachedTokens: number;
}

const MODEL = "sim-chat";
/** A new policy reaches the edge by its catalogue, and the pool by the next request. */
const IN_FORCE_MS = 8_000;

export async function play(
  stack: Stack,
  policy: PolicyName,
  lines: readonly TraceLine[],
  { ratePerSecond, world }: { readonly ratePerSecond: number; readonly world: string },
): Promise<Played> {
  await stack.admin.ensure("models", { id: MODEL, policy });
  await pause(IN_FORCE_MS);
  const { baseUrl, tenant, regions } = stack.info;
  const replicas = regions.flatMap((region) => region.replicas);
  await Promise.all(replicas.map(({ url }) => fetch(`${url}/_sim/ledger/reset`, { method: "POST" })));
  const client = new OpenAI({ baseURL: `${baseUrl}/v1`, apiKey: tenant.key, maxRetries: 0 });
  const fromMs = performance.now();
  const asked = lines.map(async (line, index) => {
    // Prompts are made when they are due: making all at once would hold the first ones up.
    await pause(fromMs + (index * 1_000) / ratePerSecond - performance.now());
    return ask(client, line, world).catch(() => null);
  });
  const answers = (await Promise.all(asked)).filter((answer) => answer !== null);
  const times = answers.map(({ firstTokenMs }) => firstTokenMs).sort((one, other) => one - other);
  const at = (share: number) => times[Math.min(times.length - 1, Math.floor(share * times.length))] ?? NaN;
  const ledgers = await Promise.all(replicas.map(({ url }) => totalsOf(url)));
  return {
    policy,
    meanMs: sum(times) / times.length,
    p50Ms: at(0.5),
    p99Ms: at(0.99),
    cachedShare: shareOf(ledgers),
    toldShare: shareOf(answers),
    learnedMsPerToken: await learnedAt(stack, regions[0]!.name),
    errors: lines.length - answers.length,
  };
}

async function ask(client: OpenAI, line: TraceLine, world: string): Promise<Answered> {
  const { session, messages } = promptOf(line, world);
  const sentMs = performance.now();
  const stream = await client.chat.completions.create(
    { model: MODEL, messages: [...messages], stream: true, stream_options: { include_usage: true } },
    { headers: { "x-meridian-session": `${world} ${session}` } },
  );
  let firstTokenMs: number | null = null;
  let usage: OpenAI.CompletionUsage | null = null;
  for await (const chunk of stream) {
    if (chunk.choices[0]?.delta.content) firstTokenMs ??= performance.now() - sentMs;
    usage = chunk.usage ?? usage;
  }
  if (firstTokenMs === null || usage === null) throw new Error("a stream without text or usage");
  const cachedTokens = usage.prompt_tokens_details?.cached_tokens ?? 0;
  return { firstTokenMs, promptTokens: usage.prompt_tokens, cachedTokens };
}

async function totalsOf(url: string): Promise<Omit<Answered, "firstTokenMs">> {
  const { totals } = (await (await fetch(`${url}/_sim/ledger`)).json()) as {
    totals: Omit<Answered, "firstTokenMs">;
  };
  return totals;
}

/** What the pool makes of first tokens shows whether it is told of them. */
async function learnedAt(stack: Stack, pool: string): Promise<number | null> {
  const { body } = await stack.admin.call("GET", `pools/${pool}`);
  const { live } = body as {
    live: { model: string; state: { firstTokenMs?: { msPerToken: number } } | null }[];
  };
  return live.find(({ model }) => model === MODEL)?.state?.firstTokenMs?.msPerToken ?? null;
}

function shareOf(prompts: readonly Omit<Answered, "firstTokenMs">[]): number {
  return sum(prompts.map(({ cachedTokens }) => cachedTokens)) / sum(prompts.map((one) => one.promptTokens));
}

function sum(values: readonly number[]): number {
  return values.reduce((total, value) => total + value, 0);
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, Math.max(0, ms)));
}
