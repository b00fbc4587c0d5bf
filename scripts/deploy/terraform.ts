import { readFileSync, statSync } from "node:fs";
import { z } from "zod";
import { poolInputSchema } from "../../src/catalogue.ts";
import { programIn } from "./program.ts";
import type { Resource } from "./register.ts";
import { DeployError, said } from "./wrangler.ts";

/** What Terraform made around the Worker: the outputs of infra/edge, infra/edge/redis and infra/gpu-origin's callers. */
export interface Infrastructure {
  readonly edge: EdgeContract | null;
  /** Headers that pass Cloudflare Access. */
  readonly accessHeaders: Readonly<Record<string, string>>;
  /** Secrets of the Worker that Terraform knows. */
  readonly workerSecrets: Readonly<Record<string, string>>;
  /** In the form of the admin API. */
  readonly pools: readonly Resource[];
}

const regionSchema = z.strictObject({
  aws_region: z.string().min(1),
  gate_secret_parameter: z.string().startsWith("/"),
  gate_url: z.url({ protocol: /^https$/ }),
  kms_key_id: z.string().nullable(),
  tunnel_id: z.string().min(1),
  tunnel_token_parameter: z.string().startsWith("/"),
});
export type RegionContract = z.infer<typeof regionSchema>;

/** `output "deploy"` of infra/edge. */
const edgeSchema = z.strictObject({
  contract: z.literal(1),
  account_id: z.string().min(1),
  edge_url: z.url({ protocol: /^https$/ }),
  worker_name: z.string().min(1),
  custom_domains: z.array(z.string().min(1)),
  kv_namespaces: z.record(z.string(), z.string().min(1)),
  logpush: z.boolean(),
  regions: z.record(z.string(), regionSchema),
});
export type EdgeContract = z.infer<typeof edgeSchema>;

const accessSchema = z.object({ client_id: z.string().min(1), client_secret: z.string().min(1) });
const redisSchema = z.object({ rest_url: z.url(), rest_token: z.string().min(1) });
const outputsSchema = z.record(z.string(), z.object({ value: z.unknown() }));
type Outputs = z.infer<typeof outputsSchema>;

export const NO_INFRASTRUCTURE: Infrastructure = {
  edge: null,
  accessHeaders: {},
  workerSecrets: {},
  pools: [],
};

/** Each place is a Terraform root, or a file that `terraform output -json` was written to. */
export async function readInfrastructure(
  places: readonly string[],
  env: Readonly<Record<string, string | undefined>>,
): Promise<Infrastructure> {
  let all = NO_INFRASTRUCTURE;
  for (const place of places) all = joined(all, infrastructureIn(place, await outputsOf(place, env)), place);
  return all;
}

async function outputsOf(place: string, env: Readonly<Record<string, string | undefined>>): Promise<Outputs> {
  const found = statSync(place, { throwIfNoEntry: false });
  if (found === undefined) throw new DeployError(`${place}: there is no such folder or file`);
  const text = found.isDirectory() ? await terraformOutput(place, env) : readFileSync(place, "utf8");
  // The parser's own message would quote the text, and that holds secrets.
  const checked = outputsSchema.safeParse(jsonOrNull(text));
  if (checked.success) return checked.data;
  throw new DeployError(`${place}: this is not what 'terraform output -json' writes`);
}

async function terraformOutput(root: string, env: Readonly<Record<string, string | undefined>>) {
  const terraform = programIn(env, "terraform", "install Terraform, or give a file with its outputs instead");
  const outcome = await terraform([`-chdir=${root}`, "output", "-json"]);
  if (outcome.status === 0) return outcome.stdout;
  throw new DeployError(`${root}: terraform output ended with status ${outcome.status}${said(outcome)}`);
}

function jsonOrNull(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}

function infrastructureIn(place: string, outputs: Outputs): Infrastructure {
  const value = (name: string): unknown => outputs[name]?.value ?? null;
  const taken = <T>(schema: z.ZodType<T>, name: string): T | null =>
    value(name) === null ? null : checked(schema, value(name), `${place}: output ${name}`);
  const access = taken(accessSchema, "access_service_token");
  const redis = taken(redisSchema, "redis");
  const found = {
    edge: taken(edgeSchema, "deploy"),
    accessHeaders:
      access === null
        ? {}
        : { "cf-access-client-id": access.client_id, "cf-access-client-secret": access.client_secret },
    workerSecrets:
      redis === null
        ? {}
        : { UPSTASH_REDIS_REST_URL: redis.rest_url, UPSTASH_REDIS_REST_TOKEN: redis.rest_token },
    pools: poolsIn(place, value("pool"), value("pools")),
  };
  const empty = found.edge === null && redis === null && found.pools.length === 0;
  if (empty)
    throw new DeployError(`${place}: no output is one of deploy, redis, pool and pools; was it applied?`);
  return found;
}

/** One pool, a list of them, or a map as `for_each` makes it. Host names of gates become URLs. */
function poolsIn(place: string, one: unknown, many: unknown): Resource[] {
  const listed = [...(one === null ? [] : [one]), ...(many === null ? [] : Object.values(many as object))];
  return listed.map((pool) => {
    const { gates, ...rest } = pool as { gates?: unknown };
    const urls = Array.isArray(gates) ? gates.map((gate) => urlOf(String(gate))) : gates;
    const written = { ...rest, gates: urls };
    checked(poolInputSchema, written, `${place}: pool`);
    return written as unknown as Resource;
  });
}

function urlOf(gate: string): string {
  return /^https?:\/\//.test(gate) ? gate : `https://${gate}`;
}

function checked<T>(schema: z.ZodType<T>, value: unknown, what: string): T {
  const result = schema.safeParse(value);
  if (result.success) return result.data;
  const issue = result.error.issues[0]!;
  throw new DeployError(`${what}: ${issue.path.join(".") || "top level"}: ${issue.message}`);
}

function joined(one: Infrastructure, other: Infrastructure, place: string): Infrastructure {
  if (one.edge !== null && other.edge !== null)
    throw new DeployError(`${place}: a second edge; deploy one at a time`);
  const twice = other.pools.find(({ id }) => one.pools.some((known) => known.id === id));
  if (twice !== undefined) throw new DeployError(`${place}: pool ${twice.id} was there already`);
  return {
    edge: one.edge ?? other.edge,
    accessHeaders: { ...one.accessHeaders, ...other.accessHeaders },
    workerSecrets: { ...one.workerSecrets, ...other.workerSecrets },
    pools: [...one.pools, ...other.pools],
  };
}

/** The region whose tunnel leads to these gates. */
export function regionOf(
  edge: EdgeContract,
  gates: readonly string[],
): [name: string, RegionContract] | null {
  return Object.entries(edge.regions).find(([, { gate_url }]) => gates.includes(gate_url)) ?? null;
}
