import { massResume } from "./mass-resume.ts";
import { objectLost, objectRestarts } from "./objects.ts";
import { partition, regionDies, staleDirectory } from "./regions.ts";
import { garbageReplica, hangingReplica, slowReplica } from "./replicas.ts";
import type { Scenario } from "./scenario.ts";

export const SCENARIOS: readonly Scenario[] = [
  ...[regionDies, staleDirectory, partition],
  ...[slowReplica, hangingReplica, garbageReplica],
  ...[objectRestarts, objectLost, massResume],
];
