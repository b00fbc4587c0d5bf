import type { CheckModule } from "./check.ts";
import { EDGE_CHECKS } from "./edge.ts";
import { GPU_CHECKS } from "./gpu.ts";

/**
 * All check modules, in the order in which they run. A module for another part of infra/ (edge*.ts) exports a
 * CheckModule and is added here, nowhere else.
 */
export const MODULES: readonly CheckModule[] = [GPU_CHECKS, EDGE_CHECKS];
