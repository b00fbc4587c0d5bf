import { relative } from "node:path";
import { buildGate } from "../build.ts";
import { type AdminKeyChange, adminKeyStep } from "./admin-key.ts";
import {
  type Cloud,
  cloudLoginStep,
  endGateRotationStep,
  gatePlacesStep,
  keepGateSecret,
  type RegionChanges,
  rotateGateSecretStep,
  terraformSecretsStep,
  tunnelTokensStep,
  wranglerConfigStep,
} from "./infra-steps.ts";
import { baseUrlAmong, untilKeyTaken, untilLive } from "./live.ts";
import { type DeployConfig, type Registered, register } from "./register.ts";
import { checkedAdminKey, makeSecrets, missingSecrets, nextKeyMac, SECRET_NAMES } from "./secrets.ts";
import { ROOT, type Settings } from "./settings.ts";
import { adminOf, type Deployment, type Step, showAdminKey } from "./step.ts";
import { dryRunBundle, mistakesIn } from "./verify.ts";
import { DeployError, deployWorker, listSecrets, putSecrets, requireLogin } from "./wrangler.ts";

export interface Options {
  /** `--config`: what to register, or null. */
  readonly config: DeployConfig | null;
  /** `--terraform`: what stands around the Worker, or null. */
  readonly cloud: Cloud | null;
  readonly regionChanges: RegionChanges;
  /** Which of the login's accounts, if it is said anywhere. */
  readonly accountId: string | null;
  /** `--url`: where the Worker answers; null: as wrangler says. */
  readonly url: string | null;
  readonly rotateKeyMac: boolean;
  readonly adminKeyChange: AdminKeyChange | null;
  /** MERIDIAN_ADMIN_KEY: the operator's, for everything that asks the admin API. */
  readonly operatorKey: string | null;
}

export function stepsOf(options: Options, settings: Settings): Step[] {
  const { cloud, config } = options;
  return [
    ...(cloud === null ? [] : [wranglerConfigStep(cloud)]),
    loginStep(options),
    ...(cloud === null ? [] : [cloudLoginStep(cloud)]),
    checkStep(settings),
    gateStep(),
    secretListStep(options),
    secretsStep(options),
    ...(cloud === null || Object.keys(cloud.infrastructure.workerSecrets).length === 0
      ? []
      : [terraformSecretsStep(cloud)]),
    deployStep(settings, options),
    ...(options.adminKeyChange === null ? [] : [adminKeyStep(options.adminKeyChange)]),
    ...(cloud === null ? [] : regionSteps(cloud, options)),
    ...(config === null ? [] : [registerStep(config, cloud)]),
  ];
}

function regionSteps(cloud: Cloud, { config, regionChanges }: Options): Step[] {
  const { rotateTunnelToken, rotateGateSecret, endGateRotation } = regionChanges;
  return [
    tunnelTokensStep(cloud, rotateTunnelToken),
    ...(rotateGateSecret === null ? [] : [rotateGateSecretStep(cloud, rotateGateSecret)]),
    ...(endGateRotation === null ? [] : [endGateRotationStep(cloud, endGateRotation)]),
    ...(config === null || config.pools.length === 0 ? [] : [keysFirst(gatePlacesStep(cloud, config))]),
  ];
}

/** A key that was just set takes a while to be in force. */
function keysFirst(step: Step): Step {
  return {
    ...step,
    async run(deployment) {
      await untilKeyTaken(adminOf(deployment));
      await step.run(deployment);
    },
  };
}

function loginStep({ accountId }: Options): Step {
  return {
    title: "who is logged in to Cloudflare",
    runs: "wrangler whoami --json",
    offline: false,
    async run({ wrangler, say }) {
      const { email, account } = await requireLogin(wrangler, accountId);
      say(`${email}, for ${account}`);
    },
  };
}

function checkStep(settings: Settings): Step {
  return {
    title: "check what would be uploaded",
    runs: "wrangler deploy --dry-run --outdir <temporary folder> --metafile",
    offline: true,
    async run({ wrangler, say }) {
      const bundle = await dryRunBundle(wrangler);
      const mistakes = mistakesIn(settings, bundle);
      if (mistakes.length > 0) throw new DeployError(mistakes.join("\n  "));
      say(`Worker '${settings.name}': ${kib(bundle.bytes)}, ${kib(bundle.gzipBytes)} compressed`);
      for (const [name, type] of Object.entries(settings.objects)) {
        say(`${name} → ${type}: bound, exported, created by a migration`);
      }
      say(`secrets declared: ${settings.requiredSecrets.join(", ")}`);
    },
  };
}

function gateStep(): Step {
  return {
    title: "build the gate of the same version",
    runs: "node scripts/build.ts gate",
    offline: true,
    async run({ say }) {
      say(`${relative(ROOT, await buildGate())}: run it with Node 24 beside your engines`);
    },
  };
}

function secretListStep(options: Options): Step {
  return {
    title: "which secrets the Worker has",
    runs: "wrangler secret list --format json",
    offline: false,
    async run(deployment) {
      const known = await listSecrets(deployment.wrangler);
      deployment.known = known;
      deployment.say(known === null ? "there is no such Worker yet" : known.sort().join(", ") || "none");
      mustHaveKeys(options, known ?? []);
    },
  };
}

/** Says before anything changed what would be missing later. */
function mustHaveKeys(
  { config, rotateKeyMac, adminKeyChange, operatorKey, regionChanges }: Options,
  known: readonly string[],
) {
  const firstKey = !known.includes("ADMIN_KEY_HASHES");
  if (rotateKeyMac && !known.includes("KEY_MAC_SECRETS")) {
    throw new DeployError("--rotate-key-mac: there is no KEY_MAC_SECRETS yet; deploy without it first");
  }
  if (adminKeyChange !== null && firstKey) {
    throw new DeployError(`--${adminKeyChange}: there is no admin key yet; deploy without it first`);
  }
  if (operatorKey !== null) checkedAdminKey(operatorKey);
  const keepsKey = adminKeyChange === "rotate-admin-key" || adminKeyChange === "end-old-admin-keys";
  const rotates = regionChanges.rotateGateSecret !== null || regionChanges.endGateRotation !== null;
  const asksAdmin = keepsKey || ((config !== null || rotates) && adminKeyChange === null);
  if (asksAdmin && !firstKey && operatorKey === null) {
    throw new DeployError("set MERIDIAN_ADMIN_KEY to an admin key of this deployment: it is needed for that");
  }
}

function secretsStep(options: Options): Step {
  return {
    title: "make the secrets that are missing; leave the others alone",
    runs: [
      `wrangler secret bulk   (only what is missing of ${SECRET_NAMES.join(", ")}`,
      ...(options.rotateKeyMac ? [", and one more KEY_MAC_SECRETS_<version>"] : []),
      "; random values, on its standard input, neither shown nor kept)",
    ].join(""),
    offline: false,
    async run(deployment) {
      const { wrangler, say, known } = deployment;
      const missing = missingSecrets(known);
      const { values, adminKey } = makeSecrets(missing, options.operatorKey);
      const rotated = options.rotateKeyMac ? nextKeyMac(known ?? []) : null;
      const all = { ...values, ...(rotated === null ? {} : { [rotated.name]: rotated.value }) };
      deployment.adminKey = adminKey ?? options.operatorKey;
      if (Object.keys(all).length === 0) return say("all are there");
      await putSecrets(wrangler, all);
      say(`set: ${Object.keys(all).join(", ")}`);
      if (rotated !== null) say("new keys carry the new version; those of earlier versions keep working");
      if (adminKey !== null) showAdminKey(adminKey, say);
    },
  };
}

function deployStep(settings: Settings, options: Options): Step {
  const migrations = settings.migrations.map(({ tag }) => tag).join(", ");
  return {
    title: `deploy (migrations ${migrations}) and wait until it answers`,
    runs: `wrangler deploy, then GET ${options.url ?? "<its address>"}/health`,
    offline: false,
    async run(deployment) {
      const { wrangler, say } = deployment;
      const targets = await deployWorker(wrangler);
      const baseUrl = options.url ?? baseUrlAmong(targets);
      deployment.baseUrl = baseUrl;
      if (baseUrl !== null) {
        await untilLive(baseUrl);
        return say(`Meridian is at ${baseUrl}/v1`);
      }
      say("deployed; wrangler named no address");
      if (options.config === null && options.adminKeyChange === null) return;
      throw new DeployError("deployed, but the rest needs its address: run this again with --url https://…");
    },
  };
}

function registerStep(config: DeployConfig, cloud: Cloud | null): Step {
  const counts = (["models", "pools", "tenants"] as const).map((name) => `${name} (${config[name].length})`);
  return {
    title: `register ${counts.join(", ")}`,
    runs: "GET, then POST or PATCH <its address>/admin/v1/{models,pools,tenants}",
    offline: false,
    async run(deployment) {
      const admin = adminOf(deployment);
      await untilKeyTaken(admin);
      await register(admin, config, async (one) => {
        if (cloud === null) return sayRegistered(one, deployment.say);
        const kept = await keepGateSecret(cloud, config, one);
        deployment.say(`${one.collection} ${one.id}: ${one.what}${kept === null ? "" : `; ${kept}`}`);
      });
    },
  };
}

function sayRegistered({ collection, id, what, gateSecret }: Registered, say: Deployment["say"]): void {
  say(`${collection} ${id}: ${what}`);
  if (gateSecret === null) return;
  const secrets = JSON.stringify({ [gateSecret.version]: gateSecret.secret });
  say(`  for its gates, shown only now: MERIDIAN_GATE_SECRETS='${secrets}'`);
}

function kib(bytes: number): string {
  return `${Math.ceil(bytes / 1_024)} KiB`;
}
