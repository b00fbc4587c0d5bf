/** How a pool chooses a replica for a request; docs/pools.md says what each does. */
export const POLICIES = ["predicted-ttft", "chwbl", "least-load", "session"] as const;
export type PolicyName = (typeof POLICIES)[number];
