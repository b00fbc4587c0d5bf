import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { WORKERD, writeEdgeConfig } from "./edge.ts";
import type { RegionPlan, StackPlan } from "./plan.ts";
import { freePorts } from "./ports.ts";
import { type StackSecrets, workerEnv } from "./secrets.ts";
import type { StackOptions } from "./stack.ts";

/** The processes of a stack: where each listens, and how it is started. */

const ROOT = fileURLToPath(new URL("../..", import.meta.url));

export interface RegionAddresses {
  readonly plan: RegionPlan;
  readonly gatePort: number;
  readonly replicas: readonly { readonly id: string; readonly url: string; readonly port: number | null }[];
}

export async function assignAddresses(plan: StackPlan, port: number): Promise<RegionAddresses[]> {
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

export async function edgeSpec(options: StackOptions, port: number, bundle: string, secrets: StackSecrets) {
  const { stateDir, edgeEnv = {} } = options;
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

export function replicaSpecs(
  { plan, stateDir, simArgs = [] }: StackOptions,
  regions: readonly RegionAddresses[],
) {
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

export function gateSpec(
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
    journal: join(stateDir, `journal-${name}`),
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
