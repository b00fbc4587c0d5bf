import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { ADMIN_KEY_CHANGES, type AdminKeyChange } from "./deploy/admin-key.ts";
import { type Cloud, type RegionChanges, withPools } from "./deploy/infra-steps.ts";
import { parametersIn } from "./deploy/parameters.ts";
import { readDeployConfig } from "./deploy/register.ts";
import { readSettings } from "./deploy/settings.ts";
import type { Deployment, Step } from "./deploy/step.ts";
import { type Options, stepsOf } from "./deploy/steps.ts";
import { readInfrastructure } from "./deploy/terraform.ts";
import { tunnelsIn } from "./deploy/tunnels.ts";
import { DeployError, wranglerIn } from "./deploy/wrangler.ts";
import { GENERATED } from "./deploy/wrangler-config.ts";

const USAGE = `npm run deploy [-- options]

Deploys the Worker of wrangler.toml to Cloudflare. The first time it makes the secrets and shows the admin key, once;
later it leaves secrets as they are. It can be run again after any failure.

  --dry-run              does all that needs no login, and prints what else the real run would do
  --terraform ROOT       a Terraform root that was applied, or a file with 'terraform output -json': infra/edge, one that
                         calls infra/gpu-origin, infra/edge/redis; once for each. Then the custom domain is bound, tunnels'
                         tokens and new pools' secrets go to AWS's parameters, and the pools are registered
  --rotate-gate-secret POOL, then --end-gate-rotation POOL; --rotate-tunnel-token REGION   see infra/README.md
  --config FILE          then registers {"models":[…],"pools":[…],"tenants":[…]}, in the form of the admin API;
                         what the file does not name stays as it is
  --url URL              where the Worker answers, if wrangler does not say it (routes)
  --rotate-key-mac       new tenant keys are signed with a new secret; earlier keys keep working
  --rotate-admin-key     a second admin key, shown once; MERIDIAN_ADMIN_KEY keeps working
  --end-old-admin-keys   only MERIDIAN_ADMIN_KEY keeps working
  --replace-admin-key    a new admin key, shown once; all others end (lost or stolen)

  MERIDIAN_ADMIN_KEY     an admin key of the deployment; at the first deployment, one to use instead of a new one
  CLOUDFLARE_API_TOKEN, CLOUDFLARE_ACCOUNT_ID   as wrangler takes them; with --terraform and regions the token is needed`;

const FLAGS = {
  "dry-run": { type: "boolean" },
  config: { type: "string" },
  terraform: { type: "string", multiple: true },
  "rotate-gate-secret": { type: "string" },
  "end-gate-rotation": { type: "string" },
  "rotate-tunnel-token": { type: "string" },
  url: { type: "string" },
  "rotate-key-mac": { type: "boolean" },
  "rotate-admin-key": { type: "boolean" },
  "end-old-admin-keys": { type: "boolean" },
  "replace-admin-key": { type: "boolean" },
  help: { type: "boolean" },
} as const;

/**
 * Does what the arguments say, and tells it line by line. Throws a DeployError with one clear message when something is
 * wrong that the operator can put right.
 */
export async function deploy(
  args: readonly string[],
  env: Readonly<Record<string, string | undefined>>,
  tell: (line: string) => void,
): Promise<void> {
  const { values } = parseArgs({ args: [...args], options: FLAGS });
  if (values.help) return tell(USAGE);
  const settings = readSettings();
  const cloud = await cloudOf(values.terraform ?? [], env);
  const config = values.config === undefined ? null : readDeployConfig(values.config);
  const options: Options = {
    config: cloud === null ? config : withPools(config, cloud),
    cloud,
    regionChanges: regionChangesOf(values, cloud),
    accountId: cloud?.edge.account_id ?? settings.accountId ?? env.CLOUDFLARE_ACCOUNT_ID ?? null,
    url: values.url === undefined ? (cloud?.edge.edge_url ?? null) : checkedUrl(values.url),
    rotateKeyMac: values["rotate-key-mac"] === true,
    adminKeyChange: onlyOne(ADMIN_KEY_CHANGES.filter((change) => values[change])),
    operatorKey: env.MERIDIAN_ADMIN_KEY || null,
  };
  const say = (line: string) => tell(`    ${line}`);
  const accessHeaders = cloud?.infrastructure.accessHeaders ?? {};
  const wrangler = wranglerIn(env, cloud === null ? null : GENERATED);
  const started = { wrangler, say, known: null, adminKey: null, baseUrl: null, accessHeaders };
  await walk(stepsOf(options, settings), started, values["dry-run"] === true, tell);
}

type Env = Readonly<Record<string, string | undefined>>;

async function cloudOf(places: readonly string[], env: Env): Promise<Cloud | null> {
  if (places.length === 0) return null;
  const infrastructure = await readInfrastructure(places, env);
  const { edge } = infrastructure;
  if (edge === null) throw new DeployError("--terraform: name infra/edge too: it says where the Worker is");
  const chosen = env.CLOUDFLARE_ACCOUNT_ID;
  if (chosen && chosen !== edge.account_id) {
    throw new DeployError("CLOUDFLARE_ACCOUNT_ID is another account than Terraform's: unset it");
  }
  const tunnels = () => tunnelsIn(env, edge.account_id);
  return { infrastructure, edge, parameters: parametersIn(env), tunnels };
}

function regionChangesOf(
  values: {
    readonly [K in "rotate-gate-secret" | "end-gate-rotation" | "rotate-tunnel-token"]?: string | undefined;
  },
  cloud: Cloud | null,
): RegionChanges {
  const changes = {
    rotateGateSecret: values["rotate-gate-secret"] ?? null,
    endGateRotation: values["end-gate-rotation"] ?? null,
    rotateTunnelToken: values["rotate-tunnel-token"] ?? null,
  };
  if (cloud === null && Object.values(changes).some((change) => change !== null)) {
    throw new DeployError("rotating a region's secrets needs --terraform infra/edge: it says where they are");
  }
  if (changes.rotateGateSecret !== null && changes.endGateRotation !== null) {
    throw new DeployError("replace the gates between --rotate-gate-secret and --end-gate-rotation");
  }
  return changes;
}

/** A dry run walks the same list, and does only what needs no login. */
async function walk(
  steps: readonly Step[],
  deployment: Deployment,
  dry: boolean,
  tell: (line: string) => void,
): Promise<void> {
  if (dry) tell("Dry run: nothing is uploaded and nothing is set.");
  for (const [at, step] of steps.entries()) {
    tell(`${at + 1}/${steps.length} ${step.title}`);
    if (dry) deployment.say(`${step.offline ? "runs now" : "would run"}: ${step.runs}`);
    if (!dry || step.offline) await step.run(deployment);
  }
  if (dry) tell("Dry run: no mistake found.");
}

function onlyOne(changes: readonly AdminKeyChange[]): AdminKeyChange | null {
  if (changes.length > 1) throw new DeployError(`choose one of --${changes.join(", --")}`);
  return changes[0] ?? null;
}

function checkedUrl(text: string): string {
  if (/^https?:\/\/[^/\s]+\/?$/.test(text)) return text.replace(/\/$/, "");
  throw new DeployError("--url takes scheme and host only, as in https://meridian.example.net");
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const tell = (line: string) => console.log(line);
  deploy(process.argv.slice(2), process.env, tell).catch((error: unknown) => {
    console.error(`deploy: ${error instanceof Error ? error.message : String(error)}`);
    process.exit(1);
  });
}
