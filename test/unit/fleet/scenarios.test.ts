import { describe, expect, it } from "vitest";
import { objectLost, objectRestarts } from "../../../sim/fleet/scenarios/objects.ts";
import { partition, regionDies, staleDirectory } from "../../../sim/fleet/scenarios/regions.ts";
import { garbageReplica, hangingReplica, slowReplica } from "../../../sim/fleet/scenarios/replicas.ts";

/** What clients see when something fails; `npm run scenarios` plays these and a larger one, with pictures. */
describe("a world in which something fails", () => {
  it.each([
    ...[regionDies, staleDirectory, partition],
    ...[slowReplica, hangingReplica, garbageReplica],
    ...[objectRestarts, objectLost],
  ])("$title", { timeout: 60_000 }, async (scenario) => {
    const { checks } = await scenario.play(1);
    expect(checks.length).toBeGreaterThan(3);
    expect(checks.filter(({ ok }) => !ok)).toEqual([]);
  });
});
