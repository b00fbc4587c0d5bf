import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { AdminClient } from "./admin.ts";
import type { StackPlan } from "./plan.ts";
import type { RegionAddresses } from "./specs.ts";

/** Brings what the admin API manages into the state of the plan. */

const READY_WITHIN_MS = 30_000;

/** Returns the versions of each pool's secret that its gate needs. Pools of an earlier plan go. */
export async function ensureCatalogue(
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
export async function ensureDemoTenant(
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

export async function everyPoolUsable(admin: AdminClient, plan: StackPlan): Promise<void> {
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
