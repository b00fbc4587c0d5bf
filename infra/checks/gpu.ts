import type { CheckModule } from "./check.ts";
import { COST_CHECKS } from "./gpu/cost.ts";
import { KUBERNETES_CHECKS } from "./gpu/kubernetes.ts";
import { TERRAFORM_CHECKS } from "./gpu/modules.ts";
import { GPU_MUTANTS } from "./gpu/mutants.ts";
import { NESTED_CHECKS } from "./gpu/nested.ts";
import { SANDBOX_CHECKS } from "./gpu/sandbox.ts";
import { USER_DATA_CHECKS } from "./gpu/user-data.ts";

/** Checks of infra/gpu-origin, infra/examples and infra/kubernetes. */
export const GPU_CHECKS: CheckModule = {
  checks: [
    ...TERRAFORM_CHECKS,
    ...COST_CHECKS,
    ...NESTED_CHECKS,
    ...USER_DATA_CHECKS,
    ...SANDBOX_CHECKS,
    ...KUBERNETES_CHECKS,
  ],
  mutants: GPU_MUTANTS,
};
