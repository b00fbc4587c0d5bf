import type { PoolState } from "../routing/messages.ts";
import type { RequestEnd, Trace } from "./trace.ts";

/**
 * Counters of this isolate. A location runs many isolates, so these show how a node behaves and are no bill: sums
 * come from the log lines, bills from the budget objects.
 */
const counters = new Map<string, number>();
const gauges = new Map<string, number>();

const HELP: Record<string, string> = {
  meridian_requests_total: "Requests that ended in this isolate.",
  meridian_request_duration_ms_total: "Their summed duration in milliseconds.",
  meridian_attempts_total: "Origin calls made for them.",
  meridian_resumes_total: "Streams that broke off, by whether they were carried on, or why not.",
  meridian_engine_deaths_total: "Engines that died with requests, as gates reported them.",
  meridian_quarantines_total: "Fingerprints held because engines died with them, or let go again.",
  meridian_quarantine_refusals_total: "Requests refused because their fingerprint is held.",
  meridian_retries_total:
    "Origin calls beyond the first, by why, and those that the retry budget did not allow.",
  meridian_hedges_total: "Second calls for a late first token, by who answered.",
  meridian_bridged_total: "Requests whose clients were answered before there was an answer.",
  meridian_cache_total:
    "Requests that the response cache was asked for, by what it had; kept: new answers in it.",
  meridian_cache_saved_tokens_total: "Tokens of answers out of the response cache: no engine computed them.",
  meridian_degraded_total: "Answers that differ from what was asked for, by step of the ladder.",
  meridian_shadows_total: "Copies of requests for revisions under test, by how they went.",
  meridian_admissions_total: "Requests admitted, by what decided: home, lease, block, or soft (on trust).",
  meridian_reports_total: "Usage reports taken from gates.",
  meridian_flood_total: "Requests that the flood guard passed, refused, or let through without Redis.",
  meridian_denied_total: "Requests that the deny list or the kill switch refused.",
  meridian_lists_ignored_total: "Requests that no deny list was known for: they went on.",
  meridian_redis_failures_total: "Calls to Redis that failed or were late.",
  meridian_mirror_entries_total: "Usage entries that reached the mirror, or were dropped.",
};

const GAUGE_HELP: Record<string, string> = {
  meridian_denied_entries: "Entries of the deny list, as last read; unknown ones deny nobody.",
  meridian_mirror_drift_tokens: "Tokens of today and yesterday that the budget settled and the mirror lacks.",
};

/** Sets a number that goes up and down. */
export function setGauge(name: string, labels: Record<string, string>, value: number): void {
  const series = seriesOf(name, labels);
  if (gauges.has(series) || gauges.size < SERIES_MAX) gauges.set(series, value);
}

export function count(name: keyof typeof HELP & string, labels: Record<string, string>, by = 1): void {
  const series = seriesOf(name, labels);
  // Label values are bounded sets (endpoints, ends, pools); the cap guards against a mistake, not against clients.
  if (!counters.has(series) && counters.size >= SERIES_MAX) return;
  counters.set(series, (counters.get(series) ?? 0) + by);
}

/** Counts an ended request and logs its one line. */
export function ended(trace: Trace, end: RequestEnd): void {
  const nowMs = Date.now();
  const labels = { endpoint: trace.endpoint ?? "none", end, status: String(trace.status) };
  count("meridian_requests_total", labels);
  count("meridian_request_duration_ms_total", { endpoint: labels.endpoint }, nowMs - trace.startedAtMs);
  if (trace.attempts > 0) count("meridian_attempts_total", { pool: trace.pool ?? "none" }, trace.attempts);
  console.log(JSON.stringify(trace.event(end, nowMs)));
}

/** Prometheus text: this isolate's counters and the pools as the directory knows them. */
export function exposition(pools: readonly PoolState[], waitErrorEdgesMs: readonly number[] = []): string {
  const lines: string[] = [];
  own(lines, "counter", HELP, counters);
  own(lines, "gauge", GAUGE_HELP, gauges);
  gauge(
    lines,
    "meridian_pool_capacity",
    "Permits that the pool's usable replicas may have out.",
    pools,
    (pool) => pool.capacity,
  );
  gauge(lines, "meridian_pool_permits", "Permits out.", pools, (pool) => pool.inUse);
  gauge(lines, "meridian_pool_waiting", "Requests waiting for a permit.", pools, (pool) => pool.waiting);
  gauge(lines, "meridian_pool_replicas_usable", "Replicas that take requests.", pools, usable);
  waitErrors(lines, pools, waitErrorEdgesMs);
  breakerTransitions(lines, pools);
  return `${lines.join("\n")}\n`;
}

const SERIES_MAX = 2_000;

function seriesOf(name: string, labels: Record<string, string>): string {
  const text = Object.entries(labels)
    .map(([label, value]) => `${label}="${escapeLabel(value)}"`)
    .join(",");
  return `${name}{${text}}`;
}

function own(
  lines: string[],
  type: "counter" | "gauge",
  help: Record<string, string>,
  values: ReadonlyMap<string, number>,
): void {
  for (const [name, text] of Object.entries(help)) {
    lines.push(`# HELP ${name} ${text}`, `# TYPE ${name} ${type}`);
    for (const [series, value] of values) if (series.startsWith(`${name}{`)) lines.push(`${series} ${value}`);
  }
}

/** A histogram without its sum: pools count how far off a predicted wait was, and add nothing up. */
function waitErrors(lines: string[], pools: readonly PoolState[], edgesMs: readonly number[]): void {
  const name = "meridian_queue_wait_error_ms";
  lines.push(
    `# HELP ${name} Real less predicted wait of requests that a pool held, in milliseconds.`,
    `# TYPE ${name} histogram`,
  );
  for (const { pool, model, waitErrors } of pools) {
    for (const [band, counts] of Object.entries(waitErrors ?? {})) {
      const labels = `pool="${escapeLabel(pool)}",model="${escapeLabel(model)}",band="${band}"`;
      let below = 0;
      for (const [index, edge] of [...edgesMs, "+Inf"].entries()) {
        below += counts[index] ?? 0;
        lines.push(`${name}_bucket{${labels},le="${edge}"} ${below}`);
      }
      lines.push(`${name}_count{${labels}} ${below}`);
    }
  }
}

/** Counted by the pools themselves, and kept over their restarts. */
function breakerTransitions(lines: string[], pools: readonly PoolState[]): void {
  const name = "meridian_breaker_transitions_total";
  lines.push(`# HELP ${name} Changes of breakers, of replicas and of pools as a whole.`);
  lines.push(`# TYPE ${name} counter`);
  for (const { pool, model, breakers } of pools) {
    for (const { times, ...kind } of breakers?.counted ?? []) {
      lines.push(`${seriesOf(name, { pool, model, ...kind })} ${times}`);
    }
  }
}

function usable(pool: PoolState): number {
  return pool.replicas.filter((replica) => replica.usable).length;
}

function gauge(
  lines: string[],
  name: string,
  help: string,
  pools: readonly PoolState[],
  value: (pool: PoolState) => number,
): void {
  lines.push(`# HELP ${name} ${help}`, `# TYPE ${name} gauge`);
  for (const pool of pools) {
    lines.push(`${name}{pool="${escapeLabel(pool.pool)}",model="${escapeLabel(pool.model)}"} ${value(pool)}`);
  }
}

function escapeLabel(value: string): string {
  return value.replaceAll("\\", "\\\\").replaceAll('"', '\\"').replaceAll("\n", "\\n");
}
