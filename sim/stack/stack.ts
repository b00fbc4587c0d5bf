import { chmodSync, mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { buildWorker } from "../../scripts/build.ts";
import { AdminClient } from "./admin.ts";
import { Child } from "./child.ts";
import { type Front, startFront } from "./front.ts";
import type { StackPlan } from "./plan.ts";
import { freePorts, portIsFree } from "./ports.ts";
import { ensureCatalogue, ensureDemoTenant, everyPoolUsable } from "./register.ts";
import { gateSecret, loadSecrets, type StackSecrets } from "./secrets.ts";
import { assignAddresses, edgeSpec, gateSpec, type RegionAddresses, replicaSpecs } from "./specs.ts";

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
  /** Bundles the Worker into the folder that it is given; a benchmark compares variants of it. */
  readonly build?: (outDir: string) => Promise<string>;
  /** Stands between the gates' reports and the edge: a test delays or loses them. Given the edge's URL, returns its own. */
  readonly reportsBy?: (edgeUrl: string) => Promise<string>;
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
  /** Where the edge itself listens, behind the front that clients reach. */
  readonly edgePort: number;
  readonly front: Front;
  /** By region name. */
  readonly gates: ReadonlyMap<string, Child>;
  /** By replica id; empty for engines that were not started here. */
  readonly replicas: ReadonlyMap<string, Child>;
  stop(): Promise<void>;
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
  const bundle = await (options.build ?? buildWorker)(stateDir);
  const regions = await assignAddresses(plan, port);
  const [edgePort] = (await freePorts(1, port + 200)) as [number];
  let front: Front | null = null;
  const children: Child[] = [];
  const stop = async () => {
    await front?.close();
    // The edge goes last, so that the gates can deliver their last reports.
    await Promise.all(children.filter((child) => child.spec.name !== "edge").map((child) => child.stop()));
    await children.find((child) => child.spec.name === "edge")?.stop();
  };
  try {
    const edge = new Child(await edgeSpec(options, edgePort, bundle, secrets), progress);
    const replicas = new Map(
      replicaSpecs(options, regions).map((spec) => [spec.name, new Child(spec, progress)]),
    );
    children.push(edge, ...replicas.values());
    progress(`starting the edge and ${replicas.size} simulated replicas`);
    await Promise.all([...replicas.values()].map((child) => child.start(READY_WITHIN_MS)));
    const baseUrl = `http://127.0.0.1:${port}`;
    const edgeUrl = `http://127.0.0.1:${edgePort}`;
    await edge.start(READY_WITHIN_MS);
    front = await startFront(port, edgePort);
    await answers(`${baseUrl}/health`, edge);
    const admin = new AdminClient(baseUrl, secrets.adminKey);
    progress("registering models, pools and the demo tenant");
    const versions = await ensureCatalogue(admin, plan, regions);
    const key = await ensureDemoTenant(admin, baseUrl, stateDir, options.tenantLimits ?? DEMO_LIMITS);
    const gates = new Map<string, Child>();
    const reportUrl = (await options.reportsBy?.(edgeUrl)) ?? edgeUrl;
    for (const region of regions) {
      const { name } = region.plan;
      const given: Record<number, string> = {};
      for (const version of versions.get(name)!) given[version] = await gateSecret(secrets, name, version);
      gates.set(name, new Child(gateSpec(stateDir, reportUrl, region, given), progress));
    }
    children.push(...gates.values());
    progress(`starting ${gates.size} gates`);
    await Promise.all([...gates.values()].map((child) => child.start(READY_WITHIN_MS)));
    progress("waiting until every region has a replica that takes requests");
    await everyPoolUsable(admin, plan);
    const info = infoOf(baseUrl, secrets, key, plan, regions);
    writeFileSync(join(stateDir, "dev.json"), `${JSON.stringify(info, null, 2)}\n`, { mode: 0o600 });
    return { info, admin, edge, edgePort, front, gates, replicas, stop };
  } catch (error) {
    await stop();
    throw error;
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
