import type { World } from "../world/world.ts";
import {
  alwaysTrue,
  between,
  check,
  count,
  type Mark,
  quantileMs,
  type Scenario,
  staged,
} from "./scenario.ts";

const SECOND_MS = 1_000;
const mark = (label: string, fromSecond: number, toSecond: number): Mark => {
  return { label, fromMs: fromSecond * SECOND_MS, toMs: toSecond * SECOND_MS };
};

function dies(world: World, region: string, { fromMs, toMs }: Mark): void {
  world.at(fromMs, () => world.region(region).die());
  world.at(toMs, () => world.region(region).return());
}

/** A region with a third of all GPUs goes, comes back, and goes again before its breakers have forgotten. */
export const regionDies: Scenario = {
  name: "region-dies",
  title: "Frankfurt dies, returns, dies again",
  async play(seed) {
    const world = staged({ seed });
    const marks = [mark("Frankfurt is dead", 80, 150), mark("again", 190, 250)];
    for (const one of marks) dies(world, "frankfurt", one);
    const seen = await world.play();
    const resumed = count(seen, ({ pausedMs }) => pausedMs !== null);
    const cut = count(seen, ({ end }) => end === "cut");
    return {
      seen,
      marks,
      checks: [
        ...alwaysTrue(world, seen, 250 * SECOND_MS),
        check("streams that were cut and not carried on", cut, "≤", 0),
      ],
      figures: {
        "streams carried on": resumed,
        "requests that failed over": count(seen, ({ attempts }) => attempts > 1),
        "p99 meanwhile, ms": quantileMs(
          marks.flatMap((one) => between(seen, one)),
          0.99,
        ),
      },
    };
  },
};

/** The directory of every location hears nothing for half a minute, and in that time a region dies. */
export const staleDirectory: Scenario = {
  name: "stale-directory",
  title: "Directories are 30 s stale, and Frankfurt dies meanwhile",
  async play(seed) {
    const world = staged({ seed });
    const [stale, dead] = [mark("directories hear nothing", 100, 130), mark("Frankfurt is dead", 105, 160)];
    world.at(stale.fromMs, () => {
      for (const directory of world.directories.values()) directory.stale(world.time.nowMs + 30 * SECOND_MS);
    });
    dies(world, "frankfurt", dead);
    const seen = await world.play();
    return {
      seen,
      marks: [stale, dead],
      checks: [
        ...alwaysTrue(world, seen, dead.toMs),
        check(
          "p99 of the first token while they are stale, ms",
          quantileMs(between(seen, stale), 0.99),
          "≤",
          8_000,
        ),
      ],
      figures: { "requests that failed over": count(seen, ({ attempts }) => attempts > 1) },
    };
  },
};

/** Europe cannot reach Frankfurt; the rest of the world can. */
export const partition: Scenario = {
  name: "partition",
  title: "Paris and Warsaw lose Frankfurt from sight",
  async play(seed) {
    const world = staged({ seed });
    const cut = mark("no way from Europe to Frankfurt", 100, 160);
    const european = () => ["Paris", "Warsaw"].flatMap((city) => world.edges.get(city) ?? []);
    world.at(cut.fromMs, () => {
      for (const edge of european()) edge.cutOff.add("frankfurt");
    });
    world.at(cut.toMs, () => {
      for (const edge of european()) edge.cutOff.delete("frankfurt");
    });
    const seen = await world.play();
    const meanwhile = between(seen, cut);
    const elsewhere = meanwhile.filter(({ city }) => city !== "Paris" && city !== "Warsaw");
    return {
      seen,
      marks: [cut],
      checks: [
        ...alwaysTrue(world, seen, cut.toMs),
        check("p99 of the first token outside Europe meanwhile, ms", quantileMs(elsewhere, 0.99), "≤", 5_000),
      ],
      figures: {
        "requests that failed over": count(seen, ({ attempts }) => attempts > 1),
        "median in Europe meanwhile, ms": quantileMs(
          meanwhile.filter((one) => !elsewhere.includes(one)),
          0.5,
        ),
      },
    };
  },
};
