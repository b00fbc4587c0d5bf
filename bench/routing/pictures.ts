import { linePlot, type Series } from "../support/line-plot.ts";
import type { Cell } from "./curve.ts";
import type { Contender, EngineName } from "./measure.ts";

const COLOURS: Readonly<Record<Contender, Omit<Series, "name">>> = {
  "plain random": { color: "#b1b8c0", dashed: true },
  "plain round-robin": { color: "#8c959f", dashed: true },
  "plain least-load": { color: "#8250df", dashed: true },
  "plain chwbl": { color: "#bf8700", dashed: true },
  "plain cache-aware": { color: "#0969da", dashed: true },
  "plain cache-aware-tree": { color: "#54aeff", dashed: true },
  "predicted-ttft": { color: "#cf222e" },
  chwbl: { color: "#bf8700" },
  "least-load": { color: "#8250df" },
  session: { color: "#1a7f37" },
};
const NAMES: Readonly<Record<EngineName, string>> = { h: "GPU and host tier", gpu: "GPU memory alone" };

/** Mean TTFT and hits over speed, one panel each, for one engine. */
export function loadPicture(cells: readonly Cell[], engine: EngineName, requests: number): string {
  const here = cells.filter((cell) => cell.engine === engine);
  const speeds = [...new Set(here.map(({ speed }) => speed))];
  const contenders = [...new Set(here.map(({ contender }) => contender))];
  const valuesOf = (of: (cell: Cell) => number) =>
    contenders.map((contender) => here.filter((cell) => cell.contender === contender).map(of));
  const common = { xLabel: "speed of the trace", xTicks: speeds };
  return linePlot({
    title: `Where a request runs: ${requests.toLocaleString("en")} requests, 8 replicas, ${NAMES[engine]}`,
    subtitle: "Simulated. Dashed: plain baselines, which send at once. Solid: the pool's own policies.",
    series: contenders.map((name) => ({ name, ...COLOURS[name] })),
    panels: [
      {
        ...common,
        title: "Mean time to first token, seconds",
        yTicks: [1, 2, 5, 10, 20, 50, 100, 200],
        yLog: true,
        yShown: String,
        values: valuesOf(({ meanMs }) => meanMs / 1_000),
      },
      {
        ...common,
        title: "Cache hits, share of a pooled LRU's",
        yTicks: [0, 0.2, 0.4, 0.6, 0.8, 1],
        yLog: false,
        yShown: (value) => `${Math.round(100 * value)} %`,
        values: valuesOf(({ hitsOfPooled }) => hitsOfPooled),
      },
    ],
  });
}
