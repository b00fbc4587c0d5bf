/** Plots as plain SVG text: no library, no script, the same in every viewer, readable on light and dark ground. */

export interface RangePlot {
  readonly title: string;
  readonly subtitle: string;
  readonly xLabel: string;
  /** Ticks of the logarithmic axis; the first and the last are its ends. */
  readonly ticks: readonly number[];
  /** Where estimate and truth agree: a line through everything. */
  readonly mark: number;
  readonly series: readonly { readonly name: string; readonly color: string }[];
  readonly panels: readonly Panel[];
}

export interface Panel {
  readonly title: string;
  readonly rows: readonly Row[];
}

export interface Row {
  readonly label: string;
  /** One a series, in their order. */
  readonly ranges: readonly Range[];
}

/** A bar from `low` to `high` with a tick at `middle`. */
export interface Range {
  readonly low: number;
  readonly middle: number;
  readonly high: number;
}

const WIDTH = 760;
const LEFT = 96;
const RIGHT = 24;
const HEAD = 92;
const FOOT = 44;
const PANEL_HEAD = 34;
const BAR = 9;
const BAR_GAP = 4;
const ROW_GAP = 13;
export const INK = "#24292f";
export const FAINT = "#6e7781";
export const RULE = "#d8dee4";

/** Ranges in rows, a panel below the other on one axis. */
export function rangePlot(plot: RangePlot): string {
  const rowHeight = plot.series.length * (BAR + BAR_GAP) - BAR_GAP + ROW_GAP;
  const heights = plot.panels.map(({ rows }) => PANEL_HEAD + rows.length * rowHeight);
  const bottom = HEAD + heights.reduce((sum, height) => sum + height, 0);
  const x = logScale(plot.ticks, LEFT, WIDTH - RIGHT);
  const parts = [...head(plot), ...axis(plot, x, bottom)];
  let top = HEAD;
  for (const [index, panel] of plot.panels.entries()) {
    parts.push(text(LEFT, top + 20, panel.title, { weight: 600 }));
    parts.push(...grid(plot, x, top + PANEL_HEAD - 5, top + heights[index]! - 3));
    for (const [place, row] of panel.rows.entries()) {
      parts.push(...bars(plot, row, x, top + PANEL_HEAD + place * rowHeight, rowHeight - ROW_GAP));
    }
    top += heights[index]!;
  }
  return document(WIDTH, bottom + FOOT, plot.title, parts);
}

function head({ title, subtitle, series }: RangePlot): string[] {
  const parts = [text(24, 30, title, { size: 16, weight: 600 }), text(24, 50, subtitle, { fill: FAINT })];
  let x = 24;
  for (const { name, color } of series) {
    parts.push(rect(x, 66, 18, BAR, color), text(x + 24, 75, name));
    // About 6.3 units a letter at this size; a legend does not need the exact width.
    x += 24 + name.length * 6.3 + 26;
  }
  return parts;
}

function grid({ ticks, mark }: RangePlot, x: (value: number) => number, from: number, to: number): string[] {
  return ticks.map((tick) => {
    const [stroke, width] = tick === mark ? [INK, 1.4] : [RULE, 1];
    return line(x(tick), from, x(tick), to, stroke, width);
  });
}

function axis({ ticks, xLabel }: RangePlot, x: (value: number) => number, bottom: number): string[] {
  const parts = ticks.map((tick) =>
    text(x(tick), bottom + 16, `${tick}×`, { anchor: "middle", fill: FAINT }),
  );
  parts.push(text((LEFT + WIDTH - RIGHT) / 2, bottom + 35, xLabel, { anchor: "middle", fill: FAINT }));
  return parts;
}

function bars(
  { series }: RangePlot,
  row: Row,
  x: (value: number) => number,
  top: number,
  height: number,
): string[] {
  const parts = [text(LEFT - 12, top + height / 2 + 4, row.label, { anchor: "end" })];
  for (const [index, { low, middle, high }] of row.ranges.entries()) {
    const y = top + index * (BAR + BAR_GAP);
    const [from, to] = [x(low), x(high)];
    parts.push(rect(from, y, Math.max(2, to - from), BAR, series[index]!.color));
    parts.push(rect(x(middle) - 1.25, y - 1.5, 2.5, BAR + 3, INK));
  }
  return parts;
}

function logScale(ticks: readonly number[], from: number, to: number): (value: number) => number {
  const [least, most] = [Math.log(ticks[0]!), Math.log(ticks.at(-1)!)];
  return (value) => {
    const share = (Math.log(value) - least) / (most - least);
    return from + Math.min(1, Math.max(0, share)) * (to - from);
  };
}

interface TextStyle {
  readonly size?: number;
  readonly weight?: number;
  readonly fill?: string;
  readonly anchor?: "start" | "middle" | "end";
}

export function text(x: number, y: number, content: string, style: TextStyle = {}): string {
  const { size = 12, weight = 400, fill = INK, anchor = "start" } = style;
  const place = `x="${round(x)}" y="${round(y)}" text-anchor="${anchor}"`;
  return `<text ${place} font-size="${size}" font-weight="${weight}" fill="${fill}">${escaped(content)}</text>`;
}

export function rect(x: number, y: number, width: number, height: number, fill: string): string {
  const size = `width="${round(width)}" height="${round(height)}"`;
  return `<rect x="${round(x)}" y="${round(y)}" ${size} rx="1.5" fill="${fill}"/>`;
}

export function line(x1: number, y1: number, x2: number, y2: number, stroke: string, width: number): string {
  const ends = `x1="${round(x1)}" y1="${round(y1)}" x2="${round(x2)}" y2="${round(y2)}"`;
  return `<line ${ends} stroke="${stroke}" stroke-width="${width}"/>`;
}

export function document(width: number, height: number, title: string, parts: readonly string[]): string {
  const font = "system-ui, -apple-system, 'Segoe UI', Helvetica, Arial, sans-serif";
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${round(height)}" width="${width}" height="${round(height)}" font-family="${font}" role="img">`,
    `<title>${escaped(title)}</title>`,
    rect(0, 0, width, height, "#ffffff"),
    ...parts,
    "</svg>\n",
  ].join("\n");
}

export function round(value: number): number {
  return Math.round(value * 10) / 10;
}

function escaped(content: string): string {
  return content.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll('"', "&quot;");
}
