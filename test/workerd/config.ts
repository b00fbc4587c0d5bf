import { createHash } from "node:crypto";

/** Admin key of the tests; the Worker is given its hash only. */
export const ADMIN_KEY = "an-admin-key-for-tests";
/** Of another admin, who has a name. */
export const BOBS_KEY = "an-admin-key-of-bob-for-tests";

const hashOf = (key: string) => createHash("sha256").update(key).digest("base64url");

/** What vitest.config.ts hands to the plugin: the Worker as it is deployed, with secrets made for tests. */
export const WORKERD_OPTIONS = {
  // Quiet about exceptions that cross RPC: tests provoke them.
  verbose: false,
  wrangler: { configPath: "./wrangler.toml" },
  miniflare: {
    bindings: {
      MERIDIAN_MODE: "development",
      KEY_MAC_SECRETS: JSON.stringify({ 1: "mac-secret-for-tests-1", 2: "mac-secret-for-tests-2" }),
      POOL_MASTER_SECRET: "pool-master-secret-for-tests",
      TICKET_SECRET: "ticket-secret-for-tests",
      ADMIN_KEY_HASHES: `${hashOf(ADMIN_KEY)} bob:${hashOf(BOBS_KEY)}`,
    },
  },
};
