import type { CheckModule } from "./check.ts";
import { TERRAFORM_CHECKS } from "./gpu/modules.ts";
import { SANDBOX_CHECKS } from "./gpu/sandbox.ts";
import { USER_DATA_CHECKS } from "./gpu/user-data.ts";

/** Checks of infra/gpu-origin, infra/examples and infra/kubernetes. */
export const GPU_CHECKS: CheckModule = {
  checks: [...TERRAFORM_CHECKS, ...USER_DATA_CHECKS, ...SANDBOX_CHECKS],
  mutants: [],
};
