import type { Fault } from "../site.ts";
import {
  alwaysTrue,
  between,
  type Check,
  check,
  count,
  type Mark,
  quantileMs,
  type Report,
  type Scenario,
  staged,
  within,
} from "./scenario.ts";

const FAULTY: Mark = { label: "one of Virginia's four replicas is faulty", fromMs: 90_000, toMs: 190_000 };

/** One of a region's four replicas goes wrong for 100 s. */
async function faulty(
  seed: number,
  fault: Fault,
  checks: (report: Omit<Report, "checks">) => Check[],
): Promise<Report> {
  const world = staged({ seed });
  const { site } = world.region("virginia");
  const [replica] = site.replicas;
  world.at(FAULTY.fromMs, () => site.fault(replica!, fault));
  world.at(FAULTY.toMs, () => site.fault(replica!, null));
  const seen = await world.play();
  const meanwhile = between(seen, FAULTY);
  const report = {
    seen,
    marks: [FAULTY],
    figures: {
      "requests that failed over": count(seen, ({ attempts }) => attempts > 1),
      "streams carried on": count(seen, ({ pausedMs }) => pausedMs !== null),
      "p99 meanwhile, ms": quantileMs(meanwhile, 0.99),
    },
  };
  return { ...report, checks: [...alwaysTrue(world, seen, FAULTY.toMs), ...checks(report)] };
}

export const slowReplica: Scenario = {
  name: "slow-replica",
  title: "A replica is five times as slow",
  play: (seed) =>
    faulty(seed, { kind: "slow", factor: 5 }, ({ seen }) => [
      check("first token within 5 s meanwhile, share", within(between(seen, FAULTY), 5_000), "≥", 0.95),
    ]),
};

export const hangingReplica: Scenario = {
  name: "hanging-replica",
  title: "A replica hangs, and its health page says that all is well",
  play: (seed) =>
    faulty(seed, { kind: "hangs" }, ({ seen }) => [
      check(
        "requests that waited for it in vain",
        count(between(seen, FAULTY), ({ attempts }) => attempts > 1),
        "≤",
        20,
      ),
      check(
        "streams that were cut and not carried on",
        count(seen, ({ end }) => end === "cut"),
        "≤",
        0,
      ),
    ]),
};

export const garbageReplica: Scenario = {
  name: "garbage-replica",
  title: "A replica answers at once, with garbage",
  play: (seed) =>
    faulty(seed, { kind: "garbage" }, ({ seen }) => [
      check(
        "requests that failed over",
        count(between(seen, FAULTY), ({ attempts }) => attempts > 1),
        "≤",
        20,
      ),
    ]),
};
