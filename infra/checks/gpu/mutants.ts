import type { Mutant } from "../check.ts";
import { BOOT_MUTANTS } from "./mutants-boot.ts";
import { CLOSED_MUTANTS } from "./mutants-closed.ts";
import { LIFE_MUTANTS } from "./mutants-life.ts";

/** Mistakes planted in gpu-origin, the examples and the manifests. */
export const GPU_MUTANTS: readonly Mutant[] = [...CLOSED_MUTANTS, ...LIFE_MUTANTS, ...BOOT_MUTANTS];
