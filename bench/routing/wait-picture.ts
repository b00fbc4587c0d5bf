import { BANDS, type Band } from "../../src/routing/messages.ts";
import { densityPlot } from "../support/density-plot.ts";
import { rightRangeMs, type WaitGroup, waitFigures } from "./waits.ts";

const COLOURS: Readonly<Record<Band, string>> = {
  interactive: "#cf222e",
  default: "#0969da",
  batch: "#1a7f37",
};
/** Of the curve's speeds, those with the most to wait for. */
const SPEEDS_MAX = 3;
const TICKS_S = [0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30];

/** Predicted against real wait, one panel for each load and band. */
export function waitPicture(groups: readonly WaitGroup[]): string {
  const ofCurve = groups.filter(({ isOverload }) => !isOverload);
  const shown = [...ofCurve.slice(-SPEEDS_MAX), ...groups.filter(({ isOverload }) => isOverload)];
  const bands = BANDS.filter((one) => shown.some(({ band }) => band === one));
  return densityPlot({
    title: "Predicted waits against real ones",
    subtitle:
      "Each request that was held. Above the line: it waited longer than predicted. Grey: right within 25 % or 300 ms.",
    xLabel: "predicted wait, seconds",
    yLabel: "real wait, seconds",
    ticks: TICKS_S,
    shown: String,
    agreement: (seconds) => {
      const { fromMs, toMs } = rightRangeMs(seconds * 1_000);
      return { from: fromMs / 1_000, to: toMs / 1_000 };
    },
    legend: bands.map((band) => ({ name: band, color: COLOURS[band] })),
    panels: shown.map((group) => {
      const { isOverload, speed, band, waits } = group;
      const { rightShare } = waitFigures(group);
      return {
        title: `${speed}×${isOverload ? ", overload" : ""}: ${band}`,
        note: `${waits.length.toLocaleString("en")} waits, ${Math.round(100 * rightShare)} % right`,
        color: COLOURS[band],
        points: waits.map(({ predictedMs, realMs }) => ({ x: predictedMs / 1_000, y: realMs / 1_000 })),
      };
    }),
  });
}
