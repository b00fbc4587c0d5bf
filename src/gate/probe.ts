import { REPLICA_POLL_TIMEOUT_MS } from "../bounds.ts";
import { METRICS_TEXT_MAX_BYTES } from "./bounds.ts";
import { isRefused } from "./upstream.ts";

/** What one look at a replica found. */
export interface Probe {
  readonly health: "ok" | "bad" | "refused" | "timeout";
  /** Null where the engine did not tell. */
  readonly load: EngineLoad | null;
  readonly models: readonly string[] | null;
  readonly gpuMemoryUsage: number | null;
}

export interface EngineLoad {
  readonly running: number;
  readonly waiting: number;
  /** 0 … 1 */
  readonly kvCacheUsage: number;
  /** Tokens that its KV cache holds; null where it does not tell. */
  readonly cacheTokens: number | null;
  /** What further tiers in host memory hold for it; null where there is none that it tells of. */
  readonly hostCacheTokens: number | null;
  /** Answers that it has begun since it started; null where it does not tell. */
  readonly firstTokens: number | null;
  /** Tokens that it has computed since it began: they stand still while it is frozen, though it answers here. */
  readonly tokens?: number;
  /** Differs between two processes of an engine; empty where its metrics do not tell. */
  readonly bootId: string;
}

export interface ProbeTarget {
  readonly url: string;
  readonly dcgmUrl?: string | undefined;
}

/** Looks at a replica once, all pages at the same time. Never rejects; takes REPLICA_POLL_TIMEOUT_MS at most. */
export async function probe(target: ProbeTarget, apiKey: string | undefined): Promise<Probe> {
  const signal = AbortSignal.timeout(REPLICA_POLL_TIMEOUT_MS);
  const [health, metrics, models, gpu] = await Promise.all([
    healthOf(`${target.url}/health`, signal),
    textOf(`${target.url}/metrics`, signal, undefined),
    textOf(`${target.url}/v1/models`, signal, apiKey),
    target.dcgmUrl === undefined ? null : textOf(target.dcgmUrl, signal, undefined),
  ]);
  return {
    health,
    load: metrics === null ? null : readLoad(metrics),
    models: models === null ? null : readModels(models),
    gpuMemoryUsage: gpu === null ? null : readGpuMemory(gpu),
  };
}

/** A connection that was kept since the last look may be closed by now: only a fresh one tells. */
async function healthOf(url: string, signal: AbortSignal, isFresh = false): Promise<Probe["health"]> {
  try {
    const response = await fetch(url, { signal, redirect: "error" });
    await response.body?.cancel();
    return response.status === 200 ? "ok" : "bad";
  } catch (error) {
    if (signal.aborted) return "timeout";
    if (isRefused((error as Error).cause)) return "refused";
    return isFresh ? "bad" : await healthOf(url, signal, true);
  }
}

async function textOf(url: string, signal: AbortSignal, bearer: string | undefined): Promise<string | null> {
  try {
    const headers = bearer === undefined ? {} : { authorization: `Bearer ${bearer}` };
    const response = await fetch(url, { signal, headers, redirect: "error" });
    if (response.status === 200 && response.body !== null) return await boundedText(response.body);
    await response.body?.cancel();
    return null;
  } catch {
    return null;
  }
}

/** Null when it is longer than an engine's metrics can be. */
async function boundedText(body: ReadableStream<Uint8Array>): Promise<string | null> {
  const chunks: Uint8Array[] = [];
  let bytes = 0;
  for await (const chunk of body) {
    bytes += chunk.byteLength;
    // Leaving the loop cancels the body.
    if (bytes > METRICS_TEXT_MAX_BYTES) return null;
    chunks.push(chunk);
  }
  return Buffer.concat(chunks, bytes).toString("utf8");
}

/** vLLM's gauges, summed over the engines of one server. Null when it is not vLLM's text. */
export function readLoad(text: string): EngineLoad | null {
  const running = samples(text, "vllm:num_requests_running");
  const waiting = samples(text, "vllm:num_requests_waiting");
  if (running.length === 0 || waiting.length === 0) return null;
  const kvCacheUsage = Math.max(0, ...samples(text, "vllm:kv_cache_usage_perc"));
  // The process's start is missing where vLLM runs several API processes; its counters' birth is always there.
  const born = [
    ...samples(text, "process_start_time_seconds"),
    ...samples(text, "vllm:prompt_tokens_created"),
    ...samples(text, "vllm:generation_tokens_created"),
  ];
  const made = [
    ...samples(text, "vllm:generation_tokens_total"),
    ...samples(text, "vllm:prompt_tokens_total"),
  ];
  return {
    running: sum(running),
    waiting: sum(waiting),
    kvCacheUsage: Math.min(1, kvCacheUsage),
    ...readCacheTokens(text),
    firstTokens: total(samples(text, "vllm:time_to_first_token_seconds_count")),
    ...(made.length === 0 ? {} : { tokens: sum(made) }),
    bootId: born[0] === undefined ? "" : String(born[0]),
  };
}

/**
 * vLLM's `cache_config_info`, whose labels are the settings of each engine of the server. Newer versions tell the size in
 * tokens; else it is blocks by tokens a block, which over-counts where layers have caches of different kinds.
 */
export function readCacheTokens(text: string): Pick<EngineLoad, "cacheTokens" | "hostCacheTokens"> {
  const engines = text.match(/^vllm:cache_config_info\{.*\} /gm) ?? [];
  const label = (line: string, name: string) =>
    Number(new RegExp(`[{,]${name}="(\\d+)"`).exec(line)?.[1] ?? Number.NaN);
  const blocks = (line: string, name: string) => label(line, name) * label(line, "block_size");
  const summed = (sizes: readonly number[]) =>
    total(sizes.filter((tokens) => Number.isSafeInteger(tokens) && tokens > 0));
  return {
    cacheTokens: summed(
      engines.map((line) => label(line, "kv_cache_size_tokens") || blocks(line, "num_gpu_blocks")),
    ),
    hostCacheTokens: summed(engines.map((line) => blocks(line, "num_cpu_blocks"))),
  };
}

/** Null for none. */
function total(values: readonly number[]): number | null {
  return values.length === 0 ? null : sum(values);
}

/** Names on `/v1/models`; null when the text is something else. */
export function readModels(text: string): string[] | null {
  try {
    const list = JSON.parse(text) as { data?: unknown };
    if (!Array.isArray(list.data)) return null;
    const ids = list.data.map((model: { id?: unknown } | null) => model?.id);
    return ids.filter((id): id is string => typeof id === "string" && id.length <= 256).slice(0, 64);
  } catch {
    return null;
  }
}

/** NVIDIA's exporter: used share of the fullest GPU's frame buffer, 0 … 1. Null where it is not told. */
export function readGpuMemory(text: string): number | null {
  const used = samples(text, "DCGM_FI_DEV_FB_USED");
  const free = samples(text, "DCGM_FI_DEV_FB_FREE");
  const shares = used.map((mib, gpu) => mib / (mib + (free[gpu] ?? 0))).filter(Number.isFinite);
  return shares.length === 0 || free.length !== used.length ? null : Math.min(1, Math.max(...shares));
}

/** Values of all series of one metric in Prometheus text. Looks only at its lines: the text may have thousands. */
export function samples(text: string, name: string): number[] {
  const values: number[] = [];
  for (let at = text.indexOf(name); at >= 0; at = text.indexOf(name, at + name.length)) {
    const after = text[at + name.length];
    if ((at > 0 && text[at - 1] !== "\n") || (after !== "{" && after !== " ")) continue;
    const end = text.indexOf("\n", at);
    const line = text.slice(at + name.length, end < 0 ? text.length : end);
    // A label's value may hold spaces and braces; the sample comes after the last brace.
    const value = Number(
      line
        .slice(line.lastIndexOf("}") + 1)
        .trim()
        .split(" ")[0],
    );
    if (Number.isFinite(value)) values.push(Math.max(0, value));
  }
  return values;
}

function sum(values: readonly number[]): number {
  return values.reduce((total, value) => total + value, 0);
}
