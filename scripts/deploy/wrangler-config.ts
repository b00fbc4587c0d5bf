import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { dirname, join, relative } from "node:path";
import { isDeepStrictEqual } from "node:util";
import { ROOT, readSettings } from "./settings.ts";
import type { EdgeContract } from "./terraform.ts";
import { DeployError } from "./wrangler.ts";

/** wrangler.toml with what Terraform decided; made anew for each deployment, beside the bundles. */
export const GENERATED = join(ROOT, "dist/wrangler.deploy.toml");

/** What Terraform decides; a line of wrangler.toml's own for one of these gives way. */
const DECIDED = /^(name|main|account_id|workers_dev|preview_urls|routes?|logpush)\s*=/;

/**
 * Writes the configuration for wrangler. `workers_dev` and previews are off: either would be a way to the admin API past
 * Cloudflare Access. Throws when the result says anything else than wrangler.toml about objects, migrations or secrets.
 */
export function writeWranglerConfig(
  edge: EdgeContract,
  source = `${ROOT}wrangler.toml`,
  target = GENERATED,
): void {
  const lines = readFileSync(source, "utf8").split("\n");
  const firstTable = lines.findIndex((line) => line.startsWith("["));
  const head = lines.slice(0, firstTable).filter((line) => !DECIDED.test(line));
  mkdirSync(dirname(target), { recursive: true });
  const text = [...decided(edge, target), ...head, ...lines.slice(firstTable), ...namespaces(edge)].join(
    "\n",
  );
  writeFileSync(target, `${text.trimEnd()}\n`);
  const [before, after] = [readSettings(source), readSettings(target)];
  const kept = { ...before, name: edge.worker_name, accountId: edge.account_id };
  if (!isDeepStrictEqual(after, kept))
    throw new DeployError(`${source}: cannot be joined with Terraform's outputs`);
}

function decided(edge: EdgeContract, target: string): string[] {
  // A JSON string is a TOML basic string.
  const text = (value: string) => JSON.stringify(value);
  const routes = edge.custom_domains.map((domain) => `{ pattern = ${text(domain)}, custom_domain = true }`);
  return [
    "# Made by npm run deploy from wrangler.toml and the outputs of infra/edge: change those instead.",
    `name = ${text(edge.worker_name)}`,
    `main = ${text(relative(dirname(target), join(ROOT, "src/worker.ts")))}`,
    `account_id = ${text(edge.account_id)}`,
    "workers_dev = false",
    "preview_urls = false",
    ...(routes.length === 0 ? [] : [`routes = [${routes.join(", ")}]`]),
    ...(edge.logpush ? ["logpush = true"] : []),
  ];
}

function namespaces({ kv_namespaces }: EdgeContract): string[] {
  return Object.entries(kv_namespaces).flatMap(([binding, id]) => [
    "",
    "[[kv_namespaces]]",
    `binding = ${JSON.stringify(binding)}`,
    `id = ${JSON.stringify(id)}`,
  ]);
}
