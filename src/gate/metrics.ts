import type { Outcome, Usage } from "../contract/report.ts";
import type { Meter } from "./meter.ts";
import type { Outbox } from "./outbox.ts";
import { waitSeconds } from "./pace.ts";
import type { Replicas } from "./replicas.ts";
import type { Reporter } from "./reporter.ts";

/** What a gate counts. Plain numbers: a token on its way costs one addition. */
export class Counters {
  readonly ended = new Map<Outcome, number>();
  readonly turnedAway = new Map<string, number>();
  events = 0;
  promptTokens = 0;
  cachedTokens = 0;
  outputTokens = 0;
  /** Engine calls that were ended before the engine was done. */
  aborts = 0;
  /** Prompts that were charged by the edge's estimate. */
  estimated = 0;

  end(outcome: Outcome, usage: Usage, events: number, aborted: boolean): void {
    this.ended.set(outcome, (this.ended.get(outcome) ?? 0) + 1);
    this.events += events;
    this.promptTokens += usage.promptTokens;
    this.cachedTokens += usage.cachedTokens;
    this.outputTokens += usage.outputTokens;
    if (aborted) this.aborts += 1;
  }

  /** A request that never reached an engine. */
  turnAway(reason: string): void {
    this.turnedAway.set(reason, (this.turnedAway.get(reason) ?? 0) + 1);
  }
}

export interface MetricsParts {
  readonly counters: Counters;
  readonly meter: Meter;
  readonly outbox: Outbox;
  readonly reporter: Reporter;
  readonly replicas: Replicas;
  readonly draining: boolean;
}

type Sample = readonly [labels: Readonly<Record<string, string>>, value: number];

/** Prometheus text, version 0.0.4. */
export function renderMetrics(parts: MetricsParts): string {
  const { counters, meter, outbox, reporter, replicas } = parts;
  const { user, system } = process.cpuUsage();
  const states = replicas.all();
  return [
    family("requests_open", "gauge", "Requests being answered", meter.open),
    family("requests_ended_total", "counter", "Attempts by how they ended", by("outcome", counters.ended)),
    family(
      "requests_turned_away_total",
      "counter",
      "Never sent to an engine",
      by("reason", counters.turnedAway),
    ),
    family("events_total", "counter", "Events read from engines, of ended requests", counters.events),
    family("tokens_total", "counter", "Tokens of ended requests; cached ones are part of the prompt's", [
      [{ kind: "prompt" }, counters.promptTokens],
      [{ kind: "cached" }, counters.cachedTokens],
      [{ kind: "output" }, counters.outputTokens],
    ]),
    family("aborts_total", "counter", "Engine calls ended before the engine was done", counters.aborts),
    family("estimated_prompts_total", "counter", "Prompts charged by estimate", counters.estimated),
    family("reports_sent_total", "counter", "Batches that the edge took", reporter.sent),
    family("reports_failed_total", "counter", "Attempts to send a batch that failed", reporter.failed),
    family("report_backlog", "gauge", "Final reports that the edge does not have yet", outbox.backlog),
    family("reports_dropped_total", "counter", "Final reports given up for want of room", outbox.dropped),
    family("draining", "gauge", "1 while this gate leaves", parts.draining ? 1 : 0),
    family(
      "replica_state",
      "gauge",
      "1 for the state that each replica is in",
      states.flatMap(({ id, state }) =>
        ["healthy", "draining", "down"].map(
          (name): Sample => [{ replica: id, state: name }, state === name ? 1 : 0],
        ),
      ),
    ),
    family(
      "replica_in_flight",
      "gauge",
      "Requests that this gate has open at a replica",
      states.map(({ id, inFlight }): Sample => [{ replica: id }, inFlight]),
    ),
    family(
      "replica_running",
      "gauge",
      "Requests that an engine works on",
      states.map(({ id, load }): Sample => [{ replica: id }, load.running]),
    ),
    family(
      "replica_waiting",
      "gauge",
      "Requests that wait inside an engine",
      states.map(({ id, load }): Sample => [{ replica: id }, load.waiting]),
    ),
    family(
      "replica_wait_seconds",
      "gauge",
      "Predicted wait for a first token at an engine, where its pace is known",
      states.flatMap(({ id, pace }) => {
        const seconds = pace === null ? null : waitSeconds(pace);
        return seconds === null
          ? []
          : [[{ replica: id }, Math.round(seconds * 1_000) / 1_000] satisfies Sample];
      }),
    ),
    family("cpu_seconds_total", "counter", "CPU time of this process", (user + system) / 1e6),
    family("memory_bytes", "gauge", "Resident memory of this process", process.memoryUsage.rss()),
    family("uptime_seconds", "gauge", "Age of this process", process.uptime()),
  ].join("");
}

function by(label: string, counts: ReadonlyMap<string, number>): Sample[] {
  return [...counts].map(([value, count]): Sample => [{ [label]: value }, count]);
}

function family(name: string, type: string, help: string, samples: number | readonly Sample[]): string {
  const full = `meridian_gate_${name}`;
  const list: readonly Sample[] = typeof samples === "number" ? [[{}, samples]] : samples;
  const lines = list.map(([labels, value]) => `${full}${labelText(labels)} ${value}\n`);
  return `# HELP ${full} ${help}\n# TYPE ${full} ${type}\n${lines.join("")}`;
}

function labelText(labels: Readonly<Record<string, string>>): string {
  const pairs = Object.entries(labels).map(([name, value]) => `${name}=${JSON.stringify(value)}`);
  return pairs.length === 0 ? "" : `{${pairs.join(",")}}`;
}
