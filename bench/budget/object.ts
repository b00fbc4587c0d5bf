import { type ChildProcess, spawn } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { buildWorker } from "../../scripts/build.ts";
import { WORKERD, writeEdgeConfig } from "../../sim/stack/edge.ts";
import { freePorts } from "../../sim/stack/ports.ts";
import { cpuMs, median } from "../support/cpu.ts";

/**
 * How much one TenantBudget object does in a second, on the runtime without a development server, rows on disk. A small
 * Worker in front of it reserves and reports, as edge and gates would, in one process and on one core.
 */

const ROOT = fileURLToPath(new URL("../..", import.meta.url));
const LIMITS = {
  tokensPerMinute: 1e10,
  tokensPerDay: 1e11,
  requestsPerMinute: 1e9,
  concurrentRequests: 1e9,
};
const KEY = { id: "key0000001", secretHash: "hash", limits: {}, expiresAtMs: null, revokedAtMs: null };
const TENANT = {
  ...{ id: "bench", name: "Bench", ref: "00000000abc", limits: LIMITS, endUserLimits: {} },
  ...{ overdraft: "debt", softAllowanceTokens: 0, homeHint: "enam", suspended: false, version: 1 },
  createdAtMs: 0,
};

/**
 * One request to it is `count` reservations, each reserved, and reported on for the last time; 64 at once, taking turns
 * between as many shards as it says. It answers how many the shard decided that was asked.
 */
const DRIVER = `export { Registry, Directory, RegionPool, TenantBudget } from "${ROOT}src/worker.ts";
const RECORD = ${JSON.stringify({ tenant: TENANT, keys: [KEY] })};
const ASK = { from: "enam", keyId: "${KEY.id}", secretHash: "hash", endUser: null, model: "m", promptTokens: 100,
  maxOutputTokens: null, choices: 1, generates: true };
const EVEN = { input: 1000, cachedInput: 1000, output: 1000 };
const said = (requestId, more) => ({ requestId, keyId: ASK.keyId, model: "m", attempt: 0, final: true, unsent: false,
  usage: { promptTokens: 100, cachedTokens: 0, outputTokens: 50 }, tokensPerSecond: 50, ...more });
export default { async fetch(request, env) {
  const { count, mode, run, shards } = await request.json();
  const budgets = Array.from({ length: shards }, (_, shard) => env.TENANT_BUDGET.getByName(
    "00000000abc/enam/0/enam" + (shard === 0 ? "" : "#" + shard), { locationHint: "enam" }));
  const budget = budgets[0];
  await budget.configure(RECORD);
  let next = 0;
  let beside = 0;
  const strict = async () => {
    while (next < count) {
      const id = run + "/" + next++;
      const shard = next % shards;
      const { ok, at } = await budgets[shard].reserve({ ...ASK, requestId: id });
      if (!ok) throw new Error("refused");
      const here = at === (shard === 0 ? "enam" : "enam#" + shard);
      if (here) beside++;
      await (here ? budgets[shard] : budget).report([said(id)]);
    }
  };
  const blocks = async () => {
    for (let at = 0; at < count; at += 64) {
      const block = run + "/block" + at;
      const granted = await budget.blocks({ ...ASK, id: block, weights: EVEN, requests: 64, tokens: 64 * 356 }, []);
      if (!granted.ok) throw new Error("refused");
      await budget.report(Array.from({ length: 64 }, (_, index) =>
        said(run + "/" + (at + index), { block: { id: block, tokens: 356 } })));
    }
  };
  if (mode === "blocks") await blocks();
  else await Promise.all(Array.from({ length: mode === "one" ? 1 : 64 }, strict));
  return Response.json({ beside });
} };`;

export interface ObjectRate {
  readonly requestsPerSecond: number;
  readonly cpuUs: number;
}

type Mode = "one" | "many" | "blocks";

/** So many objects that share one location's requests, all in one process. */
export interface ShardsRate extends ObjectRate {
  readonly shards: number;
  /** Processor time by wall time. At most one: the process runs all of its objects on one thread. */
  readonly cores: number;
  /** Decided on a lease by the shard that was asked, or by the home where that is the one. */
  readonly besideShare: number;
}

const SHARDS = [1, 2, 4];

/**
 * Requests per second, each reserved and settled: one after another, 64 at once, and out of blocks of 64, by one object; and
 * 64 at once by several.
 */
export async function objectRate(
  rounds: number,
): Promise<Record<Mode, ObjectRate> & { readonly shards: readonly ShardsRate[] }> {
  const dir = mkdtempSync(join(tmpdir(), "meridian-object-"));
  let child: ChildProcess | null = null;
  try {
    const entry = join(dir, "driver.js");
    writeFileSync(entry, DRIVER);
    const bundle = await buildWorker(join(dir, "bundle"), { entry });
    const [port] = (await freePorts(1, 28_000)) as [number];
    const secret = "a-secret-that-is-used-for-nothing";
    const env = {
      ...{ KEY_MAC_SECRETS: "{}", POOL_MASTER_SECRET: secret, TICKET_SECRET: secret, ADMIN_KEY_HASHES: "" },
    };
    const config = writeEdgeConfig(dir, bundle, port);
    child = spawn(WORKERD, ["serve", config], { stdio: ["ignore", "ignore", "inherit"], env, cwd: dir });
    const pid = child.pid!;
    const play = async (count: number, mode: Mode, run: string, shards = 1) => {
      const body = JSON.stringify({ count, mode, run, shards });
      const answer = await fetch(`http://127.0.0.1:${port}`, { method: "POST", body });
      if (!answer.ok) throw new Error(await answer.text());
      return (await answer.json()) as { beside: number };
    };
    const measure = async (count: number, mode: Mode, shards: number) => {
      const [perSecond, cpu, cores, beside]: [number[], number[], number[], number[]] = [[], [], [], []];
      for (let round = 0; round <= rounds; round++) {
        const [fromMs, fromCpuMs] = [performance.now(), cpuMs(pid)];
        const done = await play(count, mode, `${mode}${shards}/${round}`, shards);
        // The first round warms up, and earns shards their leases.
        if (round === 0) continue;
        const [wallMs, usedMs] = [performance.now() - fromMs, cpuMs(pid) - fromCpuMs];
        perSecond.push((count * 1_000) / wallMs);
        cpu.push((usedMs * 1_000) / count);
        cores.push(usedMs / wallMs);
        beside.push(done.beside / count);
      }
      const rate = { requestsPerSecond: median(perSecond), cpuUs: median(cpu) };
      return { rate, cores: median(cores), besideShare: median(beside) };
    };
    await until(() => play(64, "many", "up"));
    const one = (await measure(1_000, "one", 1)).rate;
    const many = (await measure(6_000, "many", 1)).rate;
    const blocks = (await measure(12_800, "blocks", 1)).rate;
    const shards: ShardsRate[] = [];
    for (const count of SHARDS) {
      const { rate, ...more } = await measure(12_000, "many", count);
      shards.push({ shards: count, ...rate, ...more });
    }
    return { one, many, blocks, shards };
  } finally {
    child?.kill();
    rmSync(dir, { recursive: true, force: true });
  }
}

async function until(run: () => Promise<unknown>): Promise<void> {
  for (let tries = 0; ; tries++) {
    try {
      await run();
      return;
    } catch (error) {
      if (tries >= 60) throw error;
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
  }
}
