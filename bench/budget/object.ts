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

/** One request to it is `count` reservations, each reserved, and reported on for the last time; 64 at once. */
const DRIVER = `export { Registry, Directory, RegionPool, TenantBudget } from "${ROOT}src/worker.ts";
const RECORD = ${JSON.stringify({ tenant: TENANT, keys: [KEY] })};
const ASK = { from: "enam", keyId: "${KEY.id}", secretHash: "hash", endUser: null, model: "m", promptTokens: 100,
  maxOutputTokens: null, choices: 1, generates: true };
const EVEN = { input: 1000, cachedInput: 1000, output: 1000 };
const said = (requestId, more) => ({ requestId, keyId: ASK.keyId, model: "m", attempt: 0, final: true, unsent: false,
  usage: { promptTokens: 100, cachedTokens: 0, outputTokens: 50 }, tokensPerSecond: 50, ...more });
export default { async fetch(request, env) {
  const { count, mode, run } = await request.json();
  const budget = env.TENANT_BUDGET.getByName("00000000abc/enam/0/enam", { locationHint: "enam" });
  await budget.configure(RECORD);
  let next = 0;
  const strict = async () => {
    while (next < count) {
      const id = run + "/" + next++;
      const { ok } = await budget.reserve({ ...ASK, requestId: id });
      if (!ok) throw new Error("refused");
      await budget.report([said(id)]);
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
  return new Response("done");
} };`;

export interface ObjectRate {
  readonly requestsPerSecond: number;
  readonly cpuUs: number;
}

type Mode = "one" | "many" | "blocks";

/** Requests per second, each reserved and settled: one after another, 64 at once, and out of blocks of 64. */
export async function objectRate(rounds: number): Promise<Record<Mode, ObjectRate>> {
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
    const play = async (count: number, mode: Mode, run: string) => {
      const body = JSON.stringify({ count, mode, run });
      const answer = await fetch(`http://127.0.0.1:${port}`, { method: "POST", body });
      if (!answer.ok) throw new Error(await answer.text());
    };
    await until(() => play(64, "many", "up"));
    const result = {} as Record<Mode, ObjectRate>;
    for (const [mode, count] of [
      ["one", 1_000],
      ["many", 6_000],
      ["blocks", 12_800],
    ] as const) {
      const [perSecond, cpu]: [number[], number[]] = [[], []];
      for (let round = 0; round <= rounds; round++) {
        const [fromMs, fromCpuMs] = [performance.now(), cpuMs(pid)];
        await play(count, mode, `${mode}${round}`);
        // The first round warms up.
        if (round === 0) continue;
        perSecond.push((count * 1_000) / (performance.now() - fromMs));
        cpu.push(((cpuMs(pid) - fromCpuMs) * 1_000) / count);
      }
      result[mode] = { requestsPerSecond: median(perSecond), cpuUs: median(cpu) };
    }
    return result;
  } finally {
    child?.kill();
    rmSync(dir, { recursive: true, force: true });
  }
}

async function until(run: () => Promise<void>): Promise<void> {
  for (let tries = 0; ; tries++) {
    try {
      return await run();
    } catch (error) {
      if (tries >= 60) throw error;
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
  }
}
