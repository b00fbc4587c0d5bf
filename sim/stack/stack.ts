import { chmodSync, existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { buildWorker } from "../../scripts/build.ts";
import { AdminClient } from "./admin.ts";
import { Child } from "./child.ts";
import { WORKERD, writeEdgeConfig } from "./edge.ts";
import type { RegionPlan, StackPlan } from "./plan.ts";
import { freePorts, portIsFree } from "./ports.ts";
import { gateSecret, loadSecrets, type StackSecrets, workerEnv } from "./secrets.ts";

const ROOT = fileURLToPath(new URL("../..", import.meta.url));
const READY_WITHIN_MS = 30_000;

export interface StackOptions {
  readonly plan: StackPlan;
  readonly port: number;
  /** Storage, secrets, logs. Kept between runs. */
  readonly stateDir: string;
  /** Arguments for each simulated replica. */
  readonly simArgs?: readonly string[];
  /** Optional settings of the Worker, such as UPSTASH_REDIS_REST_URL. */
  readonly edgeEnv?: Readonly<Record<string, string>>;
  /** Limits of the demo tenant. */
  readonly tenantLimits?: Readonly<Record<string, number>>;
  /** One line of progress. */
  readonly progress?: (line: string) => void;
}

/** What `.meridian/dev.json` says: where everything is. */
export interface StackInfo {
  readonly baseUrl: string;
  readonly adminKey: string;
  readonly tenant: { readonly id: string; readonly key: string };
  readonly models: readonly string[];
  readonly regions: readonly {
    readonly name: string;
    readonly gateUrl: string;
    readonly replicas: readonly { readonly id: string; readonly url: string }[];
  }[];
}

export interface Stack {
  readonly info: StackInfo;
  readonly admin: AdminClient;
  readonly edge: Child;
  /** By region name. */
  readonly gates: ReadonlyMap<string, Child>;
  /** By replica id; empty for engines that were not started here. */
  readonly replicas: ReadonlyMap<string, Child>;
  stop(): Promise<void>;
}

interface RegionAddresses {
  readonly plan: RegionPlan;
  readonly gatePort: number;
  readonly replicas: readonly { readonly id: string; readonly url: string; readonly port: number | null }[];
}

const DEMO_LIMITS = {
  tokensPerMinute: 2_000_000,
  tokensPerDay: 500_000_000,
  requestsPerMinute: 100_000,
  concurrentRequests: 2_000,
};

/** Starts edge, gates and replicas, brings the catalogue into the state of the plan, and waits until all answer. */
export async function startStack(options: StackOptions): Promise<Stack> {
  const { plan, port, stateDir, progress = () => {} } = options;
  if (!(await portIsFree(port))) {
    throw new Error(`port ${port} is in use: stop what listens there, or choose another with PORT=<number>`);
  }
  mkdirSync(join(stateDir, "logs"), { recursive: true });
  chmodSync(stateDir, 0o700);
  const secrets = loadSecrets(stateDir);
  progress("building the edge");
  const bundle = await buildWorker(stateDir);
  const regions = await assignAddresses(plan, port);
  const children: Child[] = [];
  const stop = async () => {
    // The edge goes last, so that the gates can deliver their last reports.
    await Promise.all(children.filter((child) => child.spec.name !== "edge").map((child) => child.stop()));
    await children.find((child) => child.spec.name === "edge")?.stop();
  };
  try {
    const edge = new Child(await edgeSpec(options, bundle, secrets), progress);
    const replicas = new Map(
      replicaSpecs(options, regions).map((spec) => [spec.name, new Child(spec, progress)]),
    );
    children.push(edge, ...replicas.values());
    progress(`starting the edge and ${replicas.size} simulated replicas`);
    await Promise.all([...replicas.values()].map((child) => child.start(READY_WITHIN_MS)));
    const baseUrl = `http://127.0.0.1:${port}`;
    await edge.start(READY_WITHIN_MS);
    await answers(`${baseUrl}/health`, edge);
    const admin = new AdminClient(baseUrl, secrets.adminKey);
    progress("registering models, pools and the demo tenant");
    const versions = await ensureCatalogue(admin, plan, regions);
    const key = await ensureDemoTenant(admin, baseUrl, stateDir, options.tenantLimits ?? DEMO_LIMITS);
    const gates = new Map<string, Child>();
    for (const region of regions) {
      const { name } = region.plan;
      const given: Record<number, string> = {};
      for (const version of versions.get(name)!) given[version] = await gateSecret(secrets, name, version);
      gates.set(name, new Child(gateSpec(stateDir, baseUrl, region, given), progress));
    }
    children.push(...gates.values());
    progress(`starting ${gates.size} gates`);
    await Promise.all([...gates.values()].map((child) => child.start(READY_WITHIN_MS)));
    progress("waiting until every region has a replica that takes requests");
    await everyPoolUsable(admin, plan);
    const info = infoOf(baseUrl, secrets, key, plan, regions);
    writeFileSync(join(stateDir, "dev.json"), `${JSON.stringify(info, null, 2)}\n`, { mode: 0o600 });
    return { info, admin, edge, gates, replicas, stop };
  } catch (error) {
    await stop();
    throw error;
  }
}

async function assignAddresses(plan: StackPlan, port: number): Promise<RegionAddresses[]> {
  const gatePorts = await freePorts(plan.regions.length, port + 1);
  const simulated = plan.regions.reduce(
    (sum, region) => sum + (region.urls === null ? region.replicas : 0),
    0,
  );
  const replicaPorts = await freePorts(simulated, port + 300);
  return plan.regions.map((region, index) => ({
    plan: region,
    gatePort: gatePorts[index]!,
    replicas: Array.from({ length: region.replicas }, (_, number) => {
      const replicaPort = region.urls === null ? replicaPorts.shift()! : null;
      const url = region.urls === null ? `http://127.0.0.1:${replicaPort}` : region.urls[number]!;
      return { id: `${region.name}-${number}`, url, port: replicaPort };
    }),
  }));
}

async function edgeSpec(options: StackOptions, bundle: string, secrets: StackSecrets) {
  const { stateDir, port, edgeEnv = {} } = options;
  const config = writeEdgeConfig(stateDir, bundle, port, Object.keys(edgeEnv));
  return {
    name: "edge",
    command: WORKERD,
    args: ["serve", config],
    env: { ...edgeEnv, ...(await workerEnv(secrets)) },
    cwd: stateDir,
    logFile: join(stateDir, "logs/edge.log"),
    readyText: null,
  };
}

function replicaSpecs({ plan, stateDir, simArgs = [] }: StackOptions, regions: readonly RegionAddresses[]) {
  const chat = plan.models.find((model) => model.kind !== "embed")?.id ?? "sim-chat";
  const embed = plan.models.find((model) => model.kind === "embed")?.id;
  return regions.flatMap((region) =>
    region.replicas
      .filter((replica) => replica.port !== null)
      .map(({ id, port }) => ({
        name: id,
        command: process.execPath,
        args: [
          join(ROOT, "sim/origin/main.ts"),
          ...["--port", String(port), "--id", id, "--model", chat],
          ...(embed === undefined ? [] : ["--embed-model", embed]),
          ...["--max-num-seqs", String(region.plan.concurrencyPerReplica)],
          ...simArgs,
        ],
        cwd: ROOT,
        logFile: join(stateDir, `logs/${id}.log`),
        readyText: "ready at",
      })),
  );
}

function gateSpec(
  stateDir: string,
  edgeUrl: string,
  region: RegionAddresses,
  secretByVersion: Readonly<Record<number, string>>,
) {
  const { name, concurrencyPerReplica } = region.plan;
  const config = {
    pool: name,
    gate: `${name}-gate-0`,
    listen: { host: "127.0.0.1", port: region.gatePort },
    edgeUrl,
    replicas: { static: region.replicas.map(({ id, url }) => ({ id, url })) },
    concurrencyPerReplica,
    drainMs: 5_000,
  };
  return {
    name: `gate ${name}`,
    command: process.execPath,
    args: [join(ROOT, "src/gate/main.ts")],
    env: {
      MERIDIAN_GATE_CONFIG: JSON.stringify(config),
      MERIDIAN_GATE_SECRETS: JSON.stringify(secretByVersion),
    },
    cwd: ROOT,
    logFile: join(stateDir, `logs/gate-${name}.log`),
    readyText: "ready at",
  };
}

/** Returns the versions of each pool's secret that its gate needs. Pools of an earlier plan go. */
async function ensureCatalogue(
  admin: AdminClient,
  plan: StackPlan,
  regions: readonly RegionAddresses[],
): Promise<Map<string, number[]>> {
  for (const model of plan.models) await admin.ensure("models", { ...model });
  const versions = new Map<string, number[]>();
  for (const region of regions) {
    const { name, position, hint, concurrencyPerReplica } = region.plan;
    const pool = (await admin.ensure("pools", {
      id: name,
      region: name,
      position,
      hint,
      gates: [`http://127.0.0.1:${region.gatePort}`],
      models: plan.models.map(({ id }) => ({ model: id, concurrencyPerReplica })),
      drained: false,
    })) as { secretVersion: number; rotating?: boolean };
    // While a rotation is under way, the version before goes on signing the gate's orders.
    const { secretVersion: newest, rotating } = pool;
    versions.set(name, rotating ? [newest - 1, newest] : [newest]);
  }
  const listed = (await admin.must(200, "GET", "pools")) as { data: { id: string }[] };
  for (const { id } of listed.data) if (!versions.has(id)) await admin.must(204, "DELETE", `pools/${id}`);
  return versions;
}

/** A key is shown only once, so the demo tenant's is kept beside the storage; a lost one is made anew. */
async function ensureDemoTenant(
  admin: AdminClient,
  baseUrl: string,
  stateDir: string,
  limits: Readonly<Record<string, number>>,
): Promise<string> {
  await admin.ensure("tenants", { id: "demo", name: "Demo tenant", limits });
  const file = join(stateDir, "demo-key");
  if (existsSync(file)) {
    const known = readFileSync(file, "utf8").trim();
    const check = await fetch(`${baseUrl}/v1/models`, { headers: { authorization: `Bearer ${known}` } });
    if (check.ok) return known;
  }
  const made = (await admin.must(201, "POST", "tenants/demo/keys", { name: "demo" })) as { key: string };
  writeFileSync(file, `${made.key}\n`, { mode: 0o600 });
  return made.key;
}

async function everyPoolUsable(admin: AdminClient, plan: StackPlan): Promise<void> {
  const untilMs = Date.now() + READY_WITHIN_MS;
  for (const { name } of plan.regions) {
    for (;;) {
      const { body } = await admin.call("GET", `pools/${name}`);
      if (JSON.stringify(body).includes('"usable":true')) break;
      if (Date.now() > untilMs)
        throw new Error(`no replica of ${name} takes requests; see the logs of its gate`);
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
  }
}

async function answers(url: string, child: Child): Promise<void> {
  const untilMs = Date.now() + READY_WITHIN_MS;
  for (;;) {
    const ok = await fetch(url).then(
      (response) => response.ok,
      () => false,
    );
    if (ok) return;
    if (Date.now() > untilMs || child.restarts > 3) {
      throw new Error(`${child.spec.name} does not answer; see ${child.spec.logFile}`);
    }
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

function infoOf(
  baseUrl: string,
  secrets: StackSecrets,
  key: string,
  plan: StackPlan,
  regions: readonly RegionAddresses[],
): StackInfo {
  return {
    baseUrl,
    adminKey: secrets.adminKey,
    tenant: { id: "demo", key },
    models: plan.models.map(({ id }) => id),
    regions: regions.map((region) => ({
      name: region.plan.name,
      gateUrl: `http://127.0.0.1:${region.gatePort}`,
      replicas: region.replicas.map(({ id, url }) => ({ id, url })),
    })),
  };
}
