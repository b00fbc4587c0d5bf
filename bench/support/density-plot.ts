import { document, FAINT, INK, line, RULE, rect, round, text } from "./plot.ts";

/** Many points as densities in small panels, both axes logarithmic and the same, with the diagonal where they agree. */
export interface DensityPlot {
  readonly title: string;
  readonly subtitle: string;
  readonly xLabel: string;
  readonly yLabel: string;
  /** Of both axes; the first and the last are their ends, and what lies beyond is drawn at them. */
  readonly ticks: readonly number[];
  readonly shown: (value: number) => string;
  /** What counts as agreement, by the value on the horizontal axis: a grey strip around the diagonal. */
  readonly agreement: (x: number) => { readonly from: number; readonly to: number };
  readonly legend: readonly { readonly name: string; readonly color: string }[];
  readonly panels: readonly DensityPanel[];
}

export interface DensityPanel {
  readonly title: string;
  readonly note: string;
  readonly color: string;
  readonly points: readonly { readonly x: number; readonly y: number }[];
}

const COLUMNS = 3;
const PANEL_WIDTH = 300;
const SIDE = 225;
const LEFT = 58;
const HEAD = 90;
const PANEL_HEAD = 44;
const PANEL_FOOT = 50;
/** One cell holds the points of so many units by so many. */
const CELL = 4.5;
/** Of cells with few points and with most, in steps of the logarithm of how many. */
const OPACITIES = [0.22, 0.4, 0.58, 0.78, 1];
const STRIP = "#eaeef2";
const STRIP_STEPS = 48;

type Scale = (value: number) => number;

export function densityPlot(plot: DensityPlot): string {
  const rows = Math.ceil(plot.panels.length / COLUMNS);
  const rowHeight = PANEL_HEAD + SIDE + PANEL_FOOT;
  const parts = [text(20, 30, plot.title, { size: 16, weight: 600 })];
  parts.push(text(20, 50, plot.subtitle, { fill: FAINT }), ...legend(plot));
  for (const [index, panel] of plot.panels.entries()) {
    const left = (index % COLUMNS) * PANEL_WIDTH + LEFT;
    const top = HEAD + Math.floor(index / COLUMNS) * rowHeight + PANEL_HEAD;
    parts.push(...panelParts(plot, panel, left, top));
  }
  const columns = Math.min(COLUMNS, plot.panels.length);
  return document(columns * PANEL_WIDTH, HEAD + rows * rowHeight, plot.title, parts);
}

function legend({ legend: entries }: DensityPlot): string[] {
  const parts: string[] = [];
  let x = 20;
  for (const { name, color } of entries) {
    parts.push(rect(x, 66, 12, 12, color), text(x + 18, 76, name));
    x += 18 + name.length * 6.3 + 24;
  }
  return parts;
}

function panelParts(plot: DensityPlot, panel: DensityPanel, left: number, top: number): string[] {
  const { ticks, shown } = plot;
  const [right, bottom] = [left + SIDE, top + SIDE];
  const share = shareOf(ticks);
  const x: Scale = (value) => left + share(value) * SIDE;
  const y: Scale = (value) => bottom - share(value) * SIDE;
  const parts = [text(left, top - 26, panel.title, { weight: 600 })];
  parts.push(text(left, top - 9, panel.note, { size: 11, fill: FAINT }), strip(plot, x, y));
  for (const tick of ticks) {
    parts.push(line(left, y(tick), right, y(tick), RULE, 1), line(x(tick), top, x(tick), bottom, RULE, 1));
    parts.push(text(left - 6, y(tick) + 4, shown(tick), { size: 11, anchor: "end", fill: FAINT }));
    parts.push(text(x(tick), bottom + 15, shown(tick), { size: 11, anchor: "middle", fill: FAINT }));
  }
  parts.push(...cells(panel, left, top, x, y), line(left, bottom, right, top, INK, 1.2));
  const label = { size: 11, anchor: "middle", fill: FAINT } as const;
  parts.push(text((left + right) / 2, bottom + 32, plot.xLabel, label));
  const [atX, atY] = [left - 44, (top + bottom) / 2];
  parts.push(`<g transform="rotate(-90 ${atX} ${atY})">${text(atX, atY, plot.yLabel, label)}</g>`);
  return parts;
}

function strip({ ticks, agreement }: DensityPlot, x: Scale, y: Scale): string {
  const [least, most] = [Math.log(ticks[0]!), Math.log(ticks.at(-1)!)];
  const lower: string[] = [];
  const upper: string[] = [];
  for (let step = 0; step <= STRIP_STEPS; step++) {
    const value = Math.exp(least + ((most - least) * step) / STRIP_STEPS);
    const { from, to } = agreement(value);
    lower.push(`${round(x(value))} ${round(y(from))}`);
    upper.push(`${round(x(value))} ${round(y(to))}`);
  }
  return `<path d="M${[...lower, ...upper.reverse()].join("L")}Z" fill="${STRIP}"/>`;
}

/** One path for each opacity, of a line for each run of cells of a row: a fraction of the size of as many squares. */
function cells({ color, points }: DensityPanel, left: number, top: number, x: Scale, y: Scale): string[] {
  const side = Math.round(SIDE / CELL);
  const counts = new Uint32Array(side * side);
  const placeOf = (value: number, from: number) => Math.min(side - 1, Math.floor((value - from) / CELL));
  for (const point of points) counts[placeOf(y(point.y), top) * side + placeOf(x(point.x), left)]! += 1;
  const most = Math.log(Math.max(2, ...counts));
  const levelOf = (count: number) => Math.floor((Math.log(count) / most) * (OPACITIES.length - 1) + 1e-9);
  const paths = OPACITIES.map(() => "");
  for (let at = 0; at < counts.length; ) {
    const [level, start, rowEnd] = [levelOf(counts[at]!), at, at - (at % side) + side];
    while (at < rowEnd && levelOf(counts[at]!) === level) at += 1;
    if (counts[start] === 0) continue;
    const from = `${round(left + (start % side) * CELL)} ${round(top + (Math.floor(start / side) + 0.5) * CELL)}`;
    paths[level] += `M${from}h${round((at - start) * CELL)}`;
  }
  return paths.flatMap((path, level) => {
    if (path === "") return [];
    const style = `stroke="${color}" stroke-width="${CELL}" stroke-opacity="${OPACITIES[level]}"`;
    return [`<path d="${path}" ${style} fill="none"/>`];
  });
}

/** 0 … 1 along a logarithmic axis. */
function shareOf(ticks: readonly number[]): Scale {
  const [least, most] = [Math.log(ticks[0]!), Math.log(ticks.at(-1)!)];
  return (value) => {
    const share = (Math.log(Math.max(ticks[0]!, value)) - least) / (most - least);
    return Math.min(1, share);
  };
}
