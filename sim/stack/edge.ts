import { copyFileSync, mkdirSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";

/** Durable Object classes of the Worker; wrangler.toml lists the same for production (a test compares). */
export const OBJECT_CLASSES = {
  REGISTRY: "Registry",
  DIRECTORY: "Directory",
  TENANT_BUDGET: "TenantBudget",
  REGION_POOL: "RegionPool",
} as const;

const SECRETS = ["KEY_MAC_SECRETS", "POOL_MASTER_SECRET", "TICKET_SECRET", "ADMIN_KEY_HASHES"] as const;

/** The runtime's own binary: the package's command is a script around it that would not pass signals on. */
export const WORKERD: string = createRequire(import.meta.url)("workerd").default;

/**
 * Writes the config with which plain workerd serves the bundle: the runtime of production without the development
 * server around it, which costs 25 times the throughput. Secrets come from the environment, not from the file; so do
 * optional settings, which are bound only when named: a variable that is missing would be an empty text otherwise.
 */
export function writeEdgeConfig(
  stateDir: string,
  bundle: string,
  port: number,
  optional: readonly string[] = [],
): string {
  mkdirSync(join(stateDir, "objects"), { recursive: true });
  copyFileSync(bundle, join(stateDir, "worker.js"));
  const bindings = [
    ...Object.entries(OBJECT_CLASSES).map(
      ([name, type]) => `(name = "${name}", durableObjectNamespace = "${type}")`,
    ),
    ...[...SECRETS, ...optional].map((name) => `(name = "${name}", fromEnvironment = "${name}")`),
    `(name = "MERIDIAN_MODE", text = "development")`,
  ];
  const classes = Object.values(OBJECT_CLASSES).map(
    (type) => `(className = "${type}", uniqueKey = "meridian-${type}", enableSql = true)`,
  );
  const config = `using Workerd = import "/workerd/workerd.capnp";

const config :Workerd.Config = (
  services = [
    (name = "edge", worker = .edge),
    (name = "objects", disk = (path = "objects", writable = true)),
    (name = "origins", network = (allow = ["private", "local", "public"])),
  ],
  sockets = [(name = "http", address = "127.0.0.1:${port}", http = (), service = "edge")],
);

const edge :Workerd.Worker = (
  modules = [(name = "worker.js", esModule = embed "worker.js")],
  compatibilityDate = "2026-11-01",
  compatibilityFlags = ["enable_request_signal"],
  bindings = [
    ${bindings.join(",\n    ")},
  ],
  durableObjectNamespaces = [
    ${classes.join(",\n    ")},
  ],
  durableObjectStorage = (localDisk = "objects"),
  globalOutbound = "origins",
);
`;
  const file = join(stateDir, "edge.capnp");
  writeFileSync(file, config);
  return file;
}
