/** What GET /metrics says: vLLM's names, types, labels and buckets; only the help texts are our own. */
import type { Plan } from "./api/plan.ts";
import type { Engine, Step } from "./engine/engine.ts";
import type { FaultParameters } from "./faults.ts";
import type { LedgerEntry } from "./ledger.ts";
import type { ReplicaOptions } from "./options.ts";
import { Histogram, header, type Labels, sample } from "./prometheus.ts";

const TOKENS = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10_000, 20_000, 50_000, 100_000];
const ITERATION = [1, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 8192, 16384];
const TTFT = [
  0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10, 20, 40, 80, 160, 640,
  2560,
];
const ITL = [0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1, 2.5, 5, 7.5, 10, 20, 40, 80];
const LATENCY = [
  0.3, 0.5, 0.8, 1, 1.5, 2, 2.5, 5, 10, 15, 20, 30, 40, 50, 60, 120, 240, 480, 960, 1920, 7680,
];
const FINISHED_REASONS = ["stop", "length", "abort", "error", "repetition"];

/** Follows one request for the histograms. */
export type RequestMeter = {
  /** Once per prompt of the request. */
  started(cachedTokens: number, atMs: number): void;
  token(atMs: number): void;
  closed(state: "finished" | "aborted" | "failed", entry: LedgerEntry): void;
};

export class Metrics {
  readonly #options: ReplicaOptions;
  readonly #createdS = Date.now() / 1000;
  /** As of the last step: a frozen engine keeps saying what it said. */
  #gauges = { running: 0, waiting: 0, cacheUsage: 0, queries: 0, hits: 0, preemptions: 0 };
  readonly #success = new Map(FINISHED_REASONS.map((reason) => [reason, 0]));
  #promptTokens = 0;
  #cachedTokens = 0;
  #generationTokens = 0;
  #rejections = 0;
  readonly #histograms: Readonly<Record<string, Histogram>>;

  constructor(options: ReplicaOptions) {
    this.#options = options;
    const tokens = TOKENS.filter((bound) => bound <= options.maxModelLen);
    this.#histograms = {
      request_prompt_tokens: new Histogram(tokens),
      request_generation_tokens: new Histogram(tokens),
      iteration_tokens_total: new Histogram(ITERATION),
      request_max_num_generation_tokens: new Histogram(tokens),
      request_params_n: new Histogram([1, 2, 5, 10, 20]),
      request_params_max_tokens: new Histogram(tokens),
      time_to_first_token_seconds: new Histogram(TTFT),
      inter_token_latency_seconds: new Histogram(ITL),
      request_time_per_output_token_seconds: new Histogram(ITL),
      e2e_request_latency_seconds: new Histogram(LATENCY),
      request_queue_time_seconds: new Histogram(LATENCY),
      request_inference_time_seconds: new Histogram(LATENCY),
      request_prefill_time_seconds: new Histogram(LATENCY),
      request_decode_time_seconds: new Histogram(LATENCY),
      request_num_preemptions: new Histogram([1, 2, 3, 4, 5, 10, 20]),
      request_prefill_kv_computed_tokens: new Histogram(tokens),
    };
  }

  rejected(): void {
    this.#rejections++;
  }

  /** Called after every change of the engine's queues. */
  observe(engine: Engine, step: Step | undefined): void {
    const { prefixQueries, prefixHits, preemptions } = engine.totals;
    this.#gauges = {
      running: engine.running,
      waiting: engine.waiting,
      cacheUsage: engine.cacheUsage,
      queries: prefixQueries,
      hits: prefixHits,
      preemptions,
    };
    if (step !== undefined)
      this.#histograms.iteration_tokens_total!.observe(step.prefillTokens + step.emitted.length);
  }

  open(plan: Plan): RequestMeter {
    const h = this.#histograms;
    const arrivedMs = performance.now();
    const first = plan.choices[0]!;
    let startedMs: number | undefined;
    let firstTokenMs: number | undefined;
    let lastTokenMs = arrivedMs;
    let cached = 0;
    return {
      started: (cachedTokens, atMs) => {
        if (startedMs === undefined) this.#promptTokens += plan.promptTokens;
        startedMs ??= Math.max(atMs, arrivedMs);
        cached += cachedTokens;
        this.#cachedTokens += cachedTokens;
      },
      token: (atMs) => {
        const seconds = Math.max(0, atMs - lastTokenMs) / 1000;
        h[
          firstTokenMs === undefined ? "time_to_first_token_seconds" : "inter_token_latency_seconds"
        ]!.observe(seconds);
        firstTokenMs ??= atMs;
        lastTokenMs = Math.max(lastTokenMs, atMs);
        this.#generationTokens++;
      },
      closed: (state, entry) => {
        // An abort by the client is not counted at all in vLLM, not even under "abort".
        if (state === "aborted") return;
        const reason = state === "failed" ? "error" : (entry.finishReason ?? "stop");
        this.#success.set(reason, (this.#success.get(reason) ?? 0) + 1);
        if (startedMs === undefined || firstTokenMs === undefined) return;
        const prefillMs = firstTokenMs - startedMs;
        const decodeMs = lastTokenMs - firstTokenMs;
        h.request_prompt_tokens!.observe(plan.promptTokens);
        h.request_generation_tokens!.observe(entry.generatedTokens);
        h.request_max_num_generation_tokens!.observe(entry.generatedTokens);
        h.request_params_n!.observe(plan.choices.length);
        h.request_params_max_tokens!.observe(first.sampling.maxTokens);
        h.request_time_per_output_token_seconds!.observe(
          decodeMs / 1000 / Math.max(1, entry.generatedTokens - 1),
        );
        h.e2e_request_latency_seconds!.observe((lastTokenMs - arrivedMs) / 1000);
        h.request_queue_time_seconds!.observe((startedMs - arrivedMs) / 1000);
        h.request_inference_time_seconds!.observe((prefillMs + decodeMs) / 1000);
        h.request_prefill_time_seconds!.observe(prefillMs / 1000);
        h.request_decode_time_seconds!.observe(decodeMs / 1000);
        h.request_num_preemptions!.observe(0);
        h.request_prefill_kv_computed_tokens!.observe(plan.promptTokens - cached);
      },
    };
  }

  /** The whole page. `report` overrides what the gauges say. */
  render(report: FaultParameters | undefined): string {
    const model = { model_name: this.#options.model };
    const labels = { engine: "0", ...model };
    const running = report?.running ?? this.#gauges.running;
    const waiting = report?.waiting ?? this.#gauges.waiting;
    const by = (key: string, values: Readonly<Record<string, number>>) =>
      Object.entries(values).map(([name, value]) => [{ ...labels, [key]: name }, value] as const);
    const one = (value: number) => [[labels, value] as const];
    const local = {
      local_compute: this.#promptTokens - this.#cachedTokens,
      local_cache_hit: this.#cachedTokens,
    };
    const tiers = { device: this.#cachedTokens, host: 0, p2p: 0, disk: 0, external_unspecified: 0 };
    const rejections = { max_num_queued_reqs: this.#rejections, max_num_queued_tokens: 0 };
    return [
      ...this.#counter("estimated_flops_per_gpu", one(0)),
      ...this.#counter("estimated_read_bytes_per_gpu", one(0)),
      ...this.#counter("estimated_write_bytes_per_gpu", one(0)),
      ...this.#gauge("num_requests_running", one(running)),
      ...this.#gauge("num_requests_waiting", one(waiting)),
      ...this.#gauge("num_requests_waiting_by_reason", by("reason", { capacity: waiting, deferred: 0 })),
      ...this.#gauge(
        "engine_sleep_state",
        by("sleep_state", { awake: 1, weights_offloaded: 0, discard_all: 0 }),
      ),
      ...this.#gauge("kv_cache_usage_perc", one(report?.kvCacheUsage ?? this.#gauges.cacheUsage)),
      ...this.#counter("prefix_cache_queries", one(this.#gauges.queries)),
      ...this.#counter("prefix_cache_hits", one(this.#gauges.hits)),
      ...this.#counter("external_prefix_cache_queries", one(0)),
      ...this.#counter("external_prefix_cache_hits", one(0)),
      ...this.#counter("mm_cache_queries", one(0)),
      ...this.#counter("mm_cache_hits", one(0)),
      ...this.#counter("num_preemptions", one(this.#gauges.preemptions)),
      ...this.#counter("prompt_tokens", one(this.#promptTokens)),
      ...this.#counter("prompt_tokens_by_source", by("source", { ...local, external_kv_transfer: 0 })),
      ...this.#counter("prompt_tokens_cached", one(this.#cachedTokens)),
      ...this.#counter("prompt_tokens_cached_by_source", by("source", tiers)),
      ...this.#counter("generation_tokens", one(this.#generationTokens)),
      ...this.#counter("request_success", by("finished_reason", Object.fromEntries(this.#success))),
      ...this.#counter(
        "admission_rejections",
        Object.entries(rejections).map(([reason, value]) => [{ ...model, reason }, value] as const),
      ),
      ...Object.entries(this.#histograms).flatMap(([name, histogram]) =>
        this.#family(name, histogram, labels),
      ),
      ...this.#gauge("cache_config_info", [[this.#cacheConfig(), 1]]),
      "",
    ].join("\n");
  }

  #gauge(name: string, samples: readonly (readonly [Labels, number])[]): string[] {
    const full = `vllm:${name}`;
    return [
      ...header(full, "Simulated.", "gauge"),
      ...samples.map(([labels, value]) => sample(full, labels, value)),
    ];
  }

  #counter(name: string, samples: readonly (readonly [Labels, number])[]): string[] {
    const full = `vllm:${name}_total`;
    const values = samples.map(([labels, value]) => sample(full, labels, value));
    const created = samples.map(([labels]) => [labels, this.#createdS] as const);
    return [...header(full, "Simulated.", "counter"), ...values, ...this.#gauge(`${name}_created`, created)];
  }

  #family(name: string, histogram: Histogram, labels: Labels): string[] {
    const full = `vllm:${name}`;
    const created = this.#gauge(`${name}_created`, [[labels, this.#createdS]]);
    return [...header(full, "Simulated.", "histogram"), ...histogram.lines(full, labels), ...created];
  }

  #cacheConfig(): Labels {
    const { blockTokens, cacheBlocks } = this.#options.engine;
    return {
      engine: "0",
      block_size: String(blockTokens),
      cache_dtype: "auto",
      enable_prefix_caching: "True",
      gpu_memory_utilization: "0.92",
      kv_cache_size_tokens: String(blockTokens * cacheBlocks),
      num_gpu_blocks: String(cacheBlocks),
    };
  }
}

/** vLLM takes its share of the GPU at start and keeps it, so the card's memory says little about load. */
const PREALLOCATED = 0.92;

/** What NVIDIA's DCGM exporter would say about the card, in MiB. Not part of vLLM. */
export function renderDcgm(options: ReplicaOptions, report: FaultParameters | undefined): string {
  const share = report?.gpuMemoryUsedPct === undefined ? PREALLOCATED : report.gpuMemoryUsedPct / 100;
  const usedMiB = Math.round(options.gpuMemoryMiB * share);
  const labels = { gpu: "0", device: "nvidia0", modelName: "Simulated GPU", Hostname: options.id };
  return [
    ...header("DCGM_FI_DEV_FB_FREE", "Framebuffer memory free (in MiB).", "gauge"),
    sample("DCGM_FI_DEV_FB_FREE", labels, options.gpuMemoryMiB - usedMiB),
    ...header("DCGM_FI_DEV_FB_USED", "Framebuffer memory used (in MiB).", "gauge"),
    sample("DCGM_FI_DEV_FB_USED", labels, usedMiB),
    "",
  ].join("\n");
}
