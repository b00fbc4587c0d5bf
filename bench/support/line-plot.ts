import { document, FAINT, INK, line, RULE, round, text } from "./plot.ts";

/** Lines over a common horizontal axis, in panels side by side, with one legend below all of them. */
export interface LinePlot {
  readonly title: string;
  readonly subtitle: string;
  readonly panels: readonly LinePanel[];
  readonly series: readonly Series[];
}

export interface Series {
  readonly name: string;
  readonly color: string;
  readonly dashed?: boolean;
}

export interface LinePanel {
  readonly title: string;
  readonly xLabel: string;
  readonly xTicks: readonly number[];
  /** The first and the last are the axis's ends. */
  readonly yTicks: readonly number[];
  readonly yLog: boolean;
  readonly yShown: (value: number) => string;
  /** One list a series, in their order, one value a tick of the horizontal axis; NaN leaves a gap. */
  readonly values: readonly (readonly number[])[];
}

const PANEL_WIDTH = 420;
const PANEL_HEIGHT = 300;
const LEFT = 58;
const RIGHT = 18;
const TOP = 96;
const LEGEND_ROW = 20;
const LEGEND_COLUMNS = 4;

export function linePlot(plot: LinePlot): string {
  const width = plot.panels.length * PANEL_WIDTH;
  const parts = [text(20, 30, plot.title, { size: 16, weight: 600 })];
  parts.push(text(20, 50, plot.subtitle, { fill: FAINT }));
  for (const [index, panel] of plot.panels.entries()) {
    parts.push(...panelParts(panel, plot.series, index * PANEL_WIDTH));
  }
  const legendTop = TOP + PANEL_HEIGHT + 62;
  const columnWidth = (width - 40) / LEGEND_COLUMNS;
  for (const [index, { name, color, dashed }] of plot.series.entries()) {
    const x = 20 + (index % LEGEND_COLUMNS) * columnWidth;
    const y = legendTop + Math.floor(index / LEGEND_COLUMNS) * LEGEND_ROW;
    parts.push(stroke(`M${round(x)} ${y - 4}h26`, color, dashed), text(x + 34, y, name));
  }
  const rows = Math.ceil(plot.series.length / LEGEND_COLUMNS);
  return document(width, legendTop + rows * LEGEND_ROW + 6, plot.title, parts);
}

function panelParts(panel: LinePanel, series: readonly Series[], offset: number): string[] {
  const [from, to] = [offset + LEFT, offset + PANEL_WIDTH - RIGHT];
  const bottom = TOP + PANEL_HEIGHT;
  const x = scale(panel.xTicks, from, to, false);
  const y = scale(panel.yTicks, bottom, TOP, panel.yLog);
  const parts = [text(from, TOP - 14, panel.title, { weight: 600 })];
  for (const tick of panel.yTicks) {
    parts.push(line(from, y(tick), to, y(tick), RULE, 1));
    parts.push(text(from - 8, y(tick) + 4, panel.yShown(tick), { anchor: "end", fill: FAINT }));
  }
  for (const tick of panel.xTicks) {
    parts.push(line(x(tick), bottom, x(tick), bottom + 4, INK, 1));
    parts.push(text(x(tick), bottom + 18, String(tick), { anchor: "middle", fill: FAINT }));
  }
  parts.push(text((from + to) / 2, bottom + 36, panel.xLabel, { anchor: "middle", fill: FAINT }));
  for (const [index, values] of panel.values.entries()) {
    const points = values.flatMap((value, at) =>
      Number.isFinite(value) ? [`${round(x(panel.xTicks[at]!))} ${round(y(value))}`] : [],
    );
    const { color, dashed } = series[index]!;
    if (points.length > 0) parts.push(stroke(`M${points.join("L")}`, color, dashed));
  }
  return parts;
}

function stroke(path: string, color: string, dashed = false): string {
  const dashes = dashed ? ' stroke-dasharray="5 4"' : "";
  return `<path d="${path}" fill="none" stroke="${color}" stroke-width="2" stroke-linejoin="round"${dashes}/>`;
}

/** From values to places; what lies beyond an end is drawn at it. */
function scale(ticks: readonly number[], from: number, to: number, log: boolean): (value: number) => number {
  const of = log ? Math.log : (value: number) => value;
  const [least, most] = [of(ticks[0]!), of(ticks.at(-1)!)];
  return (value) => {
    const share = (of(value) - least) / (most - least);
    return from + Math.min(1, Math.max(0, share)) * (to - from);
  };
}
