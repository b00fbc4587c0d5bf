import type { Report, Scenario } from "../../sim/fleet/scenarios/scenario.ts";
import { document, FAINT, line, RULE, rect, round, text } from "../support/plot.ts";

/** Every request of a scenario as a dot: when it came, how long its first token took, which region gave it. */

const COLOURS: Readonly<Record<string, string>> = {
  frankfurt: "#0969da",
  virginia: "#1a7f37",
  tokyo: "#8250df",
};
const ERROR = "#cf222e";
const PAUSE = "#d4650b";
const WIDTH = 900;
const LEFT = 54;
const RIGHT = 16;
const TOP = 84;
const HEIGHT = 300;
const TICKS_MS = [50, 100, 300, 1_000, 3_000, 10_000, 30_000];

export function timeline({ title }: Scenario, { seen, marks }: Report): string {
  const lastMs = Math.max(...seen.map(({ atMs }) => atMs), ...marks.map(({ toMs }) => toMs));
  const x = (ms: number) => LEFT + (Math.max(0, ms) / lastMs) * (WIDTH - LEFT - RIGHT);
  const y = (ms: number) => {
    const [least, most] = [Math.log(TICKS_MS[0]!), Math.log(TICKS_MS.at(-1)!)];
    const share = (Math.log(Math.max(1, ms)) - least) / (most - least);
    return TOP + HEIGHT * (1 - Math.min(1, Math.max(0, share)));
  };
  const bottom = TOP + HEIGHT;
  const parts = [text(20, 28, title, { size: 16, weight: 600 })];
  for (const [index, { fromMs, toMs, label }] of marks.entries()) {
    parts.push(rect(x(fromMs), TOP, Math.max(1.5, x(toMs) - x(fromMs)), HEIGHT, "#fff1e5"));
    parts.push(text(x(fromMs) + 3, TOP + 14 + (index % 3) * 14, label, { size: 11, fill: PAUSE }));
  }
  for (const tick of TICKS_MS) {
    parts.push(line(LEFT, y(tick), WIDTH - RIGHT, y(tick), RULE, 1));
    parts.push(text(LEFT - 6, y(tick) + 4, `${tick / 1_000} s`, { anchor: "end", fill: FAINT }));
  }
  for (let second = 0; second <= lastMs / 1_000; second += lastMs > 100_000 ? 30 : 10) {
    parts.push(text(x(second * 1_000), bottom + 18, `${second} s`, { anchor: "middle", fill: FAINT }));
  }
  const groups = groupsOf({ seen });
  let legendX = 20;
  for (const { name, color, points } of groups) {
    parts.push(dots([{ atMs: 0, ms: 0 }], color, () => legendX + 4, () => 48, 7)); // biome-ignore format: one line
    parts.push(text(legendX + 12, 52, `${name} (${points.length.toLocaleString("en")})`));
    legendX += 12 + (name.length + 8) * 6.6 + 14;
    if (points.length > 0) parts.push(dots(points, color, x, y, name === "error" ? 5 : 3.2));
  }
  parts.push(
    text(20, TOP - 12, "time to first token, by when the request came (virtual time)", { fill: FAINT }),
  );
  return document(WIDTH, bottom + 30, title, parts);
}

interface Point {
  readonly atMs: number;
  readonly ms: number;
}

function groupsOf({ seen }: Pick<Report, "seen">) {
  const regions = Object.keys(COLOURS).map((name) => ({
    name,
    color: COLOURS[name]!,
    points: seen.flatMap(({ region, atMs, firstTokenMs }): Point[] =>
      region === name && firstTokenMs !== null ? [{ atMs, ms: firstTokenMs }] : [],
    ),
  }));
  const paused = seen.flatMap(({ pausedMs, brokeAtMs }): Point[] =>
    pausedMs === null || brokeAtMs === null ? [] : [{ atMs: brokeAtMs + pausedMs, ms: pausedMs }],
  );
  const errors = seen.flatMap(({ end, atMs, endMs }): Point[] =>
    end === "error" ? [{ atMs, ms: endMs - atMs }] : [],
  );
  return [
    ...regions,
    { name: "pause of a stream, when it went on", color: PAUSE, points: paused },
    { name: "error", color: ERROR, points: errors },
  ];
}

/** One path of round caps: a fraction of the size of as many circles. */
function dots(
  points: readonly Point[],
  color: string,
  x: (ms: number) => number,
  y: (ms: number) => number,
  size: number,
): string {
  const path = points.map(({ atMs, ms }) => `M${round(x(atMs))} ${round(y(ms))}h0`).join("");
  return `<path d="${path}" stroke="${color}" stroke-width="${size}" stroke-linecap="round" stroke-opacity="0.75" fill="none"/>`;
}
