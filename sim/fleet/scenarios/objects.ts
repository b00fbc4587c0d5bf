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

/** The object that holds a region's permits forgets everything, under load: some of its requests wait. */
export const objectRestarts: Scenario = {
  name: "object-restarts",
  title: "Every pool's object restarts, three times, at high load",
  async play(seed) {
    const world = staged({ seed, speed: 3, replicasPerRegion: 3 });
    const marks = [50_000, 80_000, 110_000].map((fromMs): Mark => {
      return { label: "restart", fromMs, toMs: fromMs + 500 };
    });
    let waited = 0;
    for (const { fromMs } of marks) {
      world.at(fromMs, () => {
        for (const { object } of world.regions.values()) {
          waited += object.state().waiting;
          object.restart();
        }
      });
    }
    const seen = await world.play();
    return {
      seen,
      marks,
      checks: [...alwaysTrue(world, seen, 110_500), check("waiters that lived through it", waited, "≥", 1)],
      figures: { "p99, ms": quantileMs(seen, 0.99) },
    };
  },
};

/** It cannot be reached at all: edges pick replicas themselves, and the gate's caps are what bounds them. */
export const objectLost: Scenario = {
  name: "object-lost",
  title: "Frankfurt's pool object is out of reach for a minute",
  async play(seed) {
    const world = staged({ seed });
    const lost: Mark = { label: "the object does not answer", fromMs: 100_000, toMs: 160_000 };
    const frankfurt = world.region("frankfurt");
    world.at(lost.fromMs, () => {
      frankfurt.objectIsLost = true;
    });
    world.at(lost.toMs, () => {
      frankfurt.objectIsLost = false;
    });
    const seen = await world.play();
    const meanwhile = between(seen, lost);
    const served = count(meanwhile, ({ end }) => end === "whole") / meanwhile.length;
    const failedStatic = [...world.edges.values()].reduce((sum, { counts }) => sum + counts.failedStatic, 0);
    return {
      seen,
      marks: [lost],
      checks: [
        ...alwaysTrue(world, seen, lost.toMs),
        check("served meanwhile, share", served, "≥", 0.99),
        check("placed without the object", failedStatic, "≥", 1),
      ],
      figures: { "p99 meanwhile, ms": quantileMs(meanwhile, 0.99) },
    };
  },
};
