import { named, type Result, type Row } from "./run.ts";

const WIDTH = 1_100;
const LEFT = 12;
const LINE = 3;
const TOP = 64;
const COLOURS = { calm: "#9db4c0", resumed: "#2a9d5c", again: "#3a6ea5", missed: "#c1121f", kill: "#d9480f" };

/** Every request as a line over time, the kills as vertical ones. */
export function picture({ rows, kills, seed }: Result): string {
  const sorted = [...rows].sort((one, other) => one.fromMs - other.fromMs);
  const lastMs = Math.max(1, ...rows.map(({ toMs }) => toMs));
  const height = TOP + sorted.length * LINE + 40;
  const x = (ms: number) => (LEFT + (ms / lastMs) * (WIDTH - 2 * LEFT)).toFixed(1);
  const lines = sorted.map((row, index) => {
    const y = TOP + index * LINE;
    return `<line x1="${x(row.fromMs)}" x2="${x(row.toMs)}" y1="${y}" y2="${y}" stroke="${colourOf(row)}" stroke-width="2"/>`;
  });
  const bottom = TOP + sorted.length * LINE + 4;
  const marks = kills.map(
    (kill) =>
      `<line x1="${x(kill.killedAtMs)}" x2="${x(kill.killedAtMs)}" y1="${TOP - 8}" y2="${bottom}" stroke="${COLOURS.kill}" stroke-dasharray="3 3"/>` +
      `<text x="${x(kill.killedAtMs)}" y="${TOP - 14}" font-size="10" text-anchor="middle" fill="${COLOURS.kill}">${kill.what}</text>`,
  );
  const count = (of: (row: Row) => boolean) => rows.filter(of).length;
  const legend = [
    [
      COLOURS.calm,
      `${count(({ resumes, attempts, miss }) => !miss && resumes === 0 && attempts <= 1)} undisturbed`,
    ],
    [COLOURS.resumed, `${count(({ resumes, miss }) => !miss && resumes > 0)} carried on elsewhere`],
    [
      COLOURS.again,
      `${count(({ resumes, attempts, miss }) => !miss && resumes === 0 && attempts > 1)} made anew`,
    ],
    [COLOURS.missed, `${count(({ miss }) => miss !== null)} missed`],
  ] as const;
  const told = legend.map(
    ([colour, text], index) =>
      `<rect x="${LEFT + index * 190}" y="24" width="14" height="4" fill="${colour}"/>` +
      `<text x="${LEFT + 20 + index * 190}" y="30" font-size="12" fill="#333">${text}</text>`,
  );
  const title = `${rows.length} requests over ${(lastMs / 1_000).toFixed(0)} s, three regions, ${kills.length} kills (seed ${seed})`;
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${height}" font-family="system-ui, sans-serif">
<title>${title}: ${kills.map(named).join(", ")}</title>
<rect width="${WIDTH}" height="${height}" fill="#fff"/>
<text x="${LEFT}" y="16" font-size="13" font-weight="600" fill="#111">${title}</text>
${told.join("\n")}
${lines.join("\n")}
${marks.join("\n")}
<text x="${WIDTH - LEFT}" y="${height - 8}" font-size="11" text-anchor="end" fill="#666">time →</text>
</svg>
`;
}

function colourOf({ miss, resumes, attempts }: Row): string {
  if (miss !== null) return COLOURS.missed;
  if (resumes > 0) return COLOURS.resumed;
  return attempts > 1 ? COLOURS.again : COLOURS.calm;
}
