import type { PolicyName } from "../messages.ts";
import { chwbl } from "./chwbl.ts";
import { leastLoad } from "./least-load.ts";
import type { Policy } from "./policy.ts";
import { predictedTtft } from "./predicted-ttft.ts";
import { session } from "./session.ts";

/** The policy of that name, with a memory of its own. */
export function policyOf(name: PolicyName): Policy {
  return { "predicted-ttft": predictedTtft, chwbl: chwbl(), "least-load": leastLoad, session }[name];
}
