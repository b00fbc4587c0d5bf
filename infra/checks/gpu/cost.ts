import { readFileSync } from "node:fs";
import { join } from "node:path";
import { type Check, verdict } from "../check.ts";
import { examplePlans } from "./example-plans.ts";
import { check } from "./modules.ts";
import { type PlannedResource, plannedResources } from "./plan.ts";

/** What the machines of a plan cost in a month, from a list of prices; the examples' READMEs must say the same. */

export interface Prices {
  readonly hoursPerMonth: number;
  readonly instanceHour: Readonly<Record<string, number>>;
  readonly natHour: number;
  readonly endpointZoneHour: number;
  readonly diskGibMonth: number;
  readonly keyMonth: number;
  readonly alarmMonth: number;
  readonly customMetricMonth: number;
}

export interface PoolCost {
  readonly pool: string;
  readonly instanceType: string;
  readonly floorReplicas: number;
  readonly ceilingReplicas: number;
  /** US dollars a month for all replicas, with their disks. */
  readonly floorUsd: number;
  readonly ceilingUsd: number;
  /** Gates, network, key, alarms: the same however many replicas run. */
  readonly fixedUsd: number;
}

/** RequestsOpen, HealthyReplicas, PredictedWaitSeconds, ReportBacklog, TunnelConnections: per pool and per gate. */
const CUSTOM_METRICS_PER_POOL = 5 * 3 + 1;

/** One entry for each pool of a plan. Throws for an instance type without a price. */
export function costs(resources: readonly PlannedResource[], prices: Prices): PoolCost[] {
  const groups = resources.filter(({ address }) => address.endsWith(".aws_autoscaling_group.replica"));
  return groups.map(({ address, after }) => {
    const prefix = address.slice(0, -"aws_autoscaling_group.replica".length);
    const mine = resources.filter(
      (resource) => resource.address.startsWith(prefix) && resource.mode === "managed",
    );
    const type = firstType(after);
    const replicaMonth =
      hourly(prices, type) * prices.hoursPerMonth + diskGib(mine, "replica") * prices.diskGibMonth;
    const floorReplicas = Number(after.min_size);
    const ceilingReplicas = Number(after.max_size);
    return {
      pool: String(after.name).replace(/^meridian-(.*)-replica$/, "$1"),
      instanceType: type,
      floorReplicas,
      ceilingReplicas,
      floorUsd: Math.round(floorReplicas * replicaMonth),
      ceilingUsd: Math.round(ceilingReplicas * replicaMonth),
      fixedUsd: Math.round(fixed(mine, prices)),
    };
  });
}

function fixed(mine: readonly PlannedResource[], prices: Prices): number {
  const ofType = (type: string) => mine.filter((resource) => resource.type === type);
  const gates = ofType("aws_autoscaling_group").filter(({ address }) =>
    /autoscaling_group\.gate\[/.test(address),
  );
  const template = ofType("aws_launch_template").find(({ address }) =>
    /launch_template\.gate\[/.test(address),
  );
  const gateHour = hourly(prices, String(template?.after.instance_type));
  const zones = ofType("aws_subnet").filter(({ address }) => /aws_subnet\.replica\[/.test(address)).length;
  const endpoints = ofType("aws_vpc_endpoint").filter(
    ({ after }) => after.vpc_endpoint_type === "Interface",
  ).length;
  return (
    gates.length *
      (gateHour * prices.hoursPerMonth + (diskGib(mine, "gate") / gates.length) * prices.diskGibMonth) +
    ofType("aws_nat_gateway").length * prices.natHour * prices.hoursPerMonth +
    endpoints * zones * prices.endpointZoneHour * prices.hoursPerMonth +
    ofType("aws_kms_key").length * prices.keyMonth +
    ofType("aws_cloudwatch_metric_alarm").length * prices.alarmMonth +
    CUSTOM_METRICS_PER_POOL * prices.customMetricMonth
  );
}

function hourly(prices: Prices, type: string): number {
  const price = prices.instanceHour[type];
  if (price === undefined) throw new Error(`prices.json has no price of ${type}`);
  return price;
}

interface Group {
  readonly mixed_instances_policy?: readonly {
    readonly launch_template?: readonly {
      readonly override?: readonly { readonly instance_type: string }[];
    }[];
  }[];
}

function firstType(after: Readonly<Record<string, unknown>>): string {
  const group = after as Group;
  return group.mixed_instances_policy?.[0]?.launch_template?.[0]?.override?.[0]?.instance_type ?? "unknown";
}

function diskGib(mine: readonly PlannedResource[], role: string): number {
  return mine
    .filter(
      ({ type, address }) => type === "aws_launch_template" && address.includes(`launch_template.${role}`),
    )
    .flatMap(({ after }) => (after.block_device_mappings ?? []) as { ebs: { volume_size: number }[] }[])
    .reduce((sum, { ebs }) => sum + (ebs[0]?.volume_size ?? 0), 0);
}

/** The table that an example's README must hold. */
export function costTable(pools: readonly PoolCost[]): string {
  const rows = pools.map(
    ({ pool, instanceType, floorReplicas, ceilingReplicas, floorUsd, ceilingUsd, fixedUsd }) =>
      `| ${pool} | ${floorReplicas} to ${ceilingReplicas} × ${instanceType} | ${usd(floorUsd)} to ${usd(ceilingUsd)} | ${usd(fixedUsd)} | ${usd(floorUsd + fixedUsd)} to ${usd(ceilingUsd + fixedUsd)} |`,
  );
  return [
    "| pool | replicas | replicas, $ a month | the rest, $ | together, $ |",
    "| --- | --- | --- | --- | --- |",
    ...rows,
  ].join("\n");
}

const usd = (amount: number) => amount.toLocaleString("en-US");

/** Formatters pad tables: only what stands in the cells counts. */
const squeezed = (text: string) => text.replace(/-{3,}/g, "---").replace(/ {2,}/g, " ");

const cost = check(
  "gpu:cost",
  "today's prices, discounts, Spot, traffic, logs, storage of weights, Cloudflare; the price list was typed in by hand",
  async (context) => {
    const prices = JSON.parse(
      readFileSync(join(context.root, "infra/examples/prices.json"), "utf8"),
    ) as Prices;
    const found: string[] = [];
    let pools = 0;
    for (const { folder, plans } of await examplePlans(context)) {
      const list = costs(plans.flatMap(plannedResources), prices);
      pools += list.length;
      const table = costTable(list);
      const readme = readFileSync(join(context.root, folder, "README.md"), "utf8");
      if (!squeezed(readme).includes(squeezed(table)))
        found.push(`${folder}/README.md does not hold this table:`, ...table.split("\n"));
    }
    return verdict(found, `${pools} pools cost what their READMEs say`);
  },
);

export const COST_CHECKS: readonly Check[] = [cost];
