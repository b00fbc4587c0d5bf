import { relative } from "node:path";
import { endGateRotation, mustBeWritable, placeOf, rotateGateSecret } from "./gate-secrets.ts";
import type { Parameters } from "./parameters.ts";
import type { DeployConfig, Registered } from "./register.ts";
import { ROOT } from "./settings.ts";
import { adminOf, type Step } from "./step.ts";
import type { EdgeContract, Infrastructure } from "./terraform.ts";
import type { Tunnels } from "./tunnels.ts";
import { DeployError, putSecrets } from "./wrangler.ts";
import { GENERATED, writeWranglerConfig } from "./wrangler-config.ts";

/** Where a deployment meets what Terraform made. */
export interface Cloud {
  readonly infrastructure: Infrastructure;
  readonly edge: EdgeContract;
  readonly parameters: Parameters;
  /** Made when it is first needed: a dry run needs no API token. */
  readonly tunnels: () => Tunnels;
}

/** A change to one secret of a region, besides what every deployment does. */
export interface RegionChanges {
  readonly rotateGateSecret: string | null;
  readonly endGateRotation: string | null;
  readonly rotateTunnelToken: string | null;
}

export function wranglerConfigStep({ edge }: Cloud): Step {
  return {
    title: "join wrangler.toml with what Terraform made",
    runs: `write ${relative(ROOT, GENERATED)}`,
    offline: true,
    async run({ say }) {
      writeWranglerConfig(edge);
      const domains = edge.custom_domains.join(", ") || "none: Terraform binds it";
      say(`Worker '${edge.worker_name}' of account ${edge.account_id}; custom domain: ${domains}`);
      for (const [name, { gate_url, aws_region }] of Object.entries(edge.regions)) {
        say(`region ${name}: ${gate_url}, secrets in ${aws_region}`);
      }
    },
  };
}

/** Before anything is changed: what a deployment would otherwise stop at in its middle. */
export function cloudLoginStep({ parameters, tunnels, edge }: Cloud): Step {
  return {
    title: "who is logged in to AWS",
    runs: "aws sts get-caller-identity",
    offline: false,
    async run({ say }) {
      if (Object.keys(edge.regions).length === 0) return say("not needed: there is no region yet");
      tunnels();
      say(await parameters.whoami());
    },
  };
}

export function terraformSecretsStep({ infrastructure }: Cloud): Step {
  const secrets = infrastructure.workerSecrets;
  return {
    title: "set the secrets that Terraform knows",
    runs: `wrangler secret bulk   (${Object.keys(secrets).join(", ")}, on its standard input)`,
    offline: false,
    async run({ wrangler, say }) {
      await putSecrets(wrangler, secrets);
      say(`set: ${Object.keys(secrets).join(", ")}`);
    },
  };
}

export function tunnelTokensStep({ edge, tunnels, parameters }: Cloud, rotated: string | null): Step {
  const regions = Object.entries(edge.regions);
  return {
    title: `put the tunnels' tokens where their gates read them (${regions.length})`,
    runs: "GET <Cloudflare's API>/cfd_tunnel/<id>/token, then aws ssm put-parameter   (on its standard input)",
    offline: false,
    async run({ say }) {
      if (rotated !== null && edge.regions[rotated] === undefined) {
        throw new DeployError(`--rotate-tunnel-token: there is no region ${rotated}`);
      }
      for (const [name, region] of regions) {
        const place = {
          awsRegion: region.aws_region,
          name: region.tunnel_token_parameter,
          kmsKeyId: region.kms_key_id,
        };
        const before = await parameters.read(place);
        if (name === rotated) await tunnels().rotate(region.tunnel_id);
        const token = await tunnels().token(region.tunnel_id);
        if (before !== token) await parameters.write(place, token);
        say(`${name}: ${before === token ? "unchanged" : `set: ${place.name} in ${place.awsRegion}`}`);
        if (name === rotated)
          say("  replace its gates one after the other: connections of the old token last until then");
      }
    },
  };
}

/** Pools of Terraform beside those of `--config`, and their models by their names alone where nobody describes them. */
export function withPools(config: DeployConfig | null, { infrastructure, edge }: Cloud): DeployConfig | null {
  const { pools } = infrastructure;
  for (const { id, gates } of pools) placeOf(edge, id, gates as string[]);
  if (pools.length === 0) return config;
  const { models, pools: written, tenants } = config ?? { models: [], pools: [], tenants: [] };
  const twice = pools.find(({ id }) => written.some((pool) => pool.id === id));
  if (twice !== undefined)
    throw new DeployError(`pool ${twice.id} is in --config and in Terraform's outputs`);
  const served = pools.flatMap((pool) => (pool.models as { model: string }[]).map(({ model }) => model));
  const named = [...new Set(served)].filter((id) => !models.some((model) => model.id === id));
  return { models: [...models, ...named.map((id) => ({ id }))], pools: [...written, ...pools], tenants };
}

/** Shows that the secrets of new pools can be put away, while nothing is lost yet if they cannot. */
export function gatePlacesStep({ edge, parameters }: Cloud, config: DeployConfig): Step {
  return {
    title: "see that new pools' secrets can be put where their gates read them",
    runs: "aws ssm get-parameter, then put-parameter with the same value   (on its standard input)",
    offline: false,
    async run(deployment) {
      const admin = adminOf(deployment);
      for (const { id, gates } of config.pools) {
        const { status } = await admin.call("GET", `pools/${encodeURIComponent(id)}`);
        if (status !== 404) continue;
        const place = placeOf(edge, id, gates as string[]);
        await mustBeWritable(parameters, place);
        deployment.say(`${id}: ${place.name} in ${place.awsRegion}`);
      }
    },
  };
}

/** Puts a new pool's secret away before the next pool is made; says where and never what. */
export async function keepGateSecret(
  { edge, parameters }: Cloud,
  config: DeployConfig,
  { id, gateSecret }: Registered,
): Promise<string | null> {
  if (gateSecret === null) return null;
  const pool = config.pools.find((one) => one.id === id);
  const place = placeOf(edge, id, (pool?.gates ?? []) as string[]);
  await parameters.write(place, JSON.stringify({ [gateSecret.version]: gateSecret.secret }));
  return `its gates' secret is in ${place.name} in ${place.awsRegion}`;
}

export function rotateGateSecretStep({ edge, parameters }: Cloud, pool: string): Step {
  return {
    title: `a second secret for the gates of ${pool}`,
    runs: `POST <its address>/admin/v1/pools/${pool}/rotate-secret, then aws ssm put-parameter   (on its standard input)`,
    offline: false,
    async run(deployment) {
      const place = await rotateGateSecret(adminOf(deployment), parameters, edge, pool);
      deployment.say(
        `both are in ${place.name} in ${place.awsRegion}; the old one signs until the rotation is ended`,
      );
      deployment.say(
        `now replace the gates one after the other, then run this with --end-gate-rotation ${pool}`,
      );
    },
  };
}

export function endGateRotationStep({ edge, parameters }: Cloud, pool: string): Step {
  return {
    title: `end the rotation of the gates of ${pool}`,
    runs: `POST <its address>/admin/v1/pools/${pool}/end-rotation, then aws ssm put-parameter   (on its standard input)`,
    offline: false,
    async run(deployment) {
      const place = await endGateRotation(adminOf(deployment), parameters, edge, pool);
      deployment.say(`the new secret signs; ${place.name} in ${place.awsRegion} holds it alone`);
    },
  };
}
