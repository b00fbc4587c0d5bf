import type { Cell } from "./curve.ts";
import type { Goal } from "./goals.ts";
import type { EngineName } from "./measure.ts";
import type { Overload } from "./overload.ts";
import type { WaitFigures } from "./waits.ts";

/** What was measured, as tables in Markdown. */

export function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const widths = head.map((cell, column) => Math.max(cell.length, ...rows.map((row) => row[column]!.length)));
  const shown = (row: readonly string[]) =>
    `| ${row.map((cell, column) => (column === 0 ? cell.padEnd(widths[column]!) : cell.padStart(widths[column]!))).join(" | ")} |`;
  const rule = `| ${widths.map((width, column) => (column === 0 ? "-".repeat(width) : `${"-".repeat(width - 1)}:`)).join(" | ")} |`;
  return [shown(head), rule, ...rows.map(shown)].join("\n");
}

interface Column {
  readonly title: string;
  readonly of: (cell: Cell) => string;
}

const seconds = (ms: number) => (ms / 1_000).toFixed(ms < 9_995 ? 2 : ms < 99_950 ? 1 : 0);
const signedSeconds = (ms: number) => `${ms < 0 ? "−" : "+"}${seconds(Math.abs(ms))}`;
const percent = (share: number) => (100 * share).toFixed(0);

export const COLUMNS: Readonly<Record<string, Column>> = {
  mean: { title: "Mean TTFT, seconds", of: ({ meanMs }) => seconds(meanMs) },
  p50: { title: "Median TTFT, seconds", of: ({ p50Ms }) => seconds(p50Ms) },
  p99: { title: "99th percentile of TTFT, seconds", of: ({ p99Ms }) => seconds(p99Ms) },
  hits: {
    title: "Cache hits, % of what one pooled LRU of the same total size has",
    of: ({ hitsOfPooled }) => percent(hitsOfPooled),
  },
  attainment: { title: "First token within 2 s, % of requests", of: ({ attainment }) => percent(attainment) },
  goodput: {
    title: "Goodput: requests a second with a first token within 2 s",
    of: ({ goodputPerSecond }) => goodputPerSecond.toFixed(2),
  },
  throughput: {
    title: "Throughput, thousand tokens a second",
    of: ({ tokensPerSecond }) => (tokensPerSecond / 1_000).toFixed(1),
  },
};

/** One figure of all contenders by speed. */
export function figureTable(cells: readonly Cell[], engine: EngineName, column: Column): string {
  const here = cells.filter((cell) => cell.engine === engine);
  const speeds = [...new Set(here.map(({ speed }) => speed))];
  const contenders = [...new Set(here.map(({ contender }) => contender))];
  const rows = contenders.map((contender) => {
    const ofContender = here.filter((cell) => cell.contender === contender);
    return [contender, ...ofContender.map(column.of)];
  });
  return table(["policy", ...speeds.map((speed) => `${speed}×`)], rows);
}

export function overloadTable(overloads: readonly Overload[]): string {
  const head = [
    "policy",
    "throughput, % of peak",
    "in time, % of all",
    "of feasible",
    "p99, s",
    "batch mean, s",
  ];
  const rows = overloads.map((one) => [
    one.contender,
    percent(one.shareOfPeak),
    percent(one.attainment),
    percent(one.attainmentOfFeasible),
    seconds(one.interactiveP99Ms),
    seconds(one.batchMeanMs),
  ]);
  return table(head, rows);
}

export function waitTable(figures: readonly WaitFigures[]): string {
  const head = [
    "speed",
    "band",
    "held, %",
    "real wait, median, s",
    "error p10, s",
    "median, s",
    "p90, s",
    "right, %",
    "not sent, %",
  ];
  const rows = figures.map((one) => [
    `${one.speed}×${one.isOverload ? ", overload" : ""}`,
    one.band,
    percent(one.heldShare),
    seconds(one.realP50Ms),
    signedSeconds(one.errorP10Ms),
    signedSeconds(one.errorP50Ms),
    signedSeconds(one.errorP90Ms),
    percent(one.rightShare),
    (100 * one.unsentShare).toFixed(1),
  ]);
  return table(head, rows);
}

export function goalTable(goals: readonly Goal[]): string {
  const rows = goals.map(({ what, goal, measured, met }) => [
    what,
    goal,
    measured.toFixed(2),
    met ? "yes" : "**no**",
  ]);
  return table(["goal", "limit", "measured", "met"], rows);
}
