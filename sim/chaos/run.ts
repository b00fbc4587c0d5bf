import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { TenantUsage } from "../../src/limits/messages.ts";
import { startReplica } from "../origin/replica.ts";
import { simulatedPlan } from "../stack/plan.ts";
import { freePorts } from "../stack/ports.ts";
import { type Stack, startStack } from "../stack/stack.ts";
import { ask, type Got } from "./clients.ts";
import { type Kill, plan, type Request } from "./work.ts";

/** How one request went. Times in milliseconds after the first round began. */
export interface Row {
  readonly request: Request;
  readonly fromMs: number;
  readonly toMs: number;
  readonly got: Got | null;
  readonly error: string | null;
  /** What is wrong with it, or null. */
  readonly miss: string | null;
  readonly resumes: number;
  readonly attempts: number;
}

export interface Result {
  readonly seed: number;
  readonly rows: readonly Row[];
  readonly kills: readonly (Kill & { readonly killedAtMs: number })[];
  readonly charged: { readonly promptTokens: number; readonly outputTokens: number };
  readonly delivered: { readonly promptTokens: number; readonly outputTokens: number };
  readonly openReservations: number;
}

const READY_WITHIN_MS = 60_000;
/** What nobody tells the end of is closed after 90 s at most (docs/budgets.md). */
const SETTLED_WITHIN_MS = 100_000;

/** Runs `streams` requests against a local stack of three regions in which things are killed. */
export async function runChaos(
  streams: number,
  seed: number,
  progress: (line: string) => void,
  firstPort = 21_000 + (process.pid % 300) * 30,
): Promise<Result> {
  const { requests, kills } = plan(streams, seed);
  const stateDir = mkdtempSync(join(tmpdir(), "meridian-chaos-"));
  const [port] = await freePorts(1, firstPort);
  const stack = await startStack({ plan: simulatedPlan(), port: port!, stateDir, progress });
  const calm = await startReplica({ speed: 1_000 });
  try {
    const startedAtMs = Date.now();
    const rows: Row[] = [];
    const killed: (Kill & { killedAtMs: number })[] = [];
    for (const kill of kills) {
      await everyReplicaUsable(stack);
      const ofRound = requests.filter(({ round }) => round === kill.round);
      const running = ofRound.map((request) => one(stack, calm.url, request, startedAtMs));
      const done = Promise.all(running);
      if (kill.what === "edge") await done;
      await sleep(kill.what === "edge" ? 0 : kill.atMs);
      // Usage that gates have not reported yet would be lost with nobody but themselves.
      killed.push({ ...kill, killedAtMs: Date.now() - startedAtMs });
      strike(stack, kill);
      rows.push(...(await done));
      const missed = rows.filter(({ miss }) => miss !== null).length;
      progress(
        `round ${kill.round + 1} of ${kills.length}: killed ${named(kill)}; ${rows.length} ended, ${missed} missed`,
      );
    }
    await everyReplicaUsable(stack);
    const usage = await settled(stack);
    const whole = withTraces(rows, stateDir);
    return {
      seed,
      rows: whole,
      kills: killed,
      charged: usage.totals,
      delivered: {
        promptTokens: sum(whole, ({ got }) => got?.promptTokens ?? 0),
        outputTokens: sum(whole, ({ got }) => got?.outputTokens ?? 0),
      },
      openReservations: usage.open.reservations,
    };
  } finally {
    await stack.stop();
    await calm.close();
    rmSync(stateDir, { recursive: true, force: true });
  }
}

async function one(stack: Stack, calmUrl: string, request: Request, startedAtMs: number): Promise<Row> {
  await sleep(request.startMs);
  const fromMs = Date.now() - startedAtMs;
  let got: Got | null = null;
  let error: string | null = null;
  try {
    got = await ask({ url: stack.info.baseUrl, key: stack.info.tenant.key }, request);
  } catch (caught) {
    error = String(caught);
  }
  const toMs = Date.now() - startedAtMs;
  const unbroken = await ask({ url: calmUrl, key: "none" }, request);
  const miss = error ?? difference(got!, unbroken);
  return { request, fromMs, toMs, got, error, miss, resumes: 0, attempts: 0 };
}

function difference(got: Got, unbroken: Got): string | null {
  for (const field of ["text", "finish", "promptTokens", "outputTokens"] as const) {
    if (got[field] !== unbroken[field])
      return `another ${field}: ${got[field]} instead of ${unbroken[field]}`;
  }
  return null;
}

function strike(stack: Stack, { what, region }: Kill): void {
  if (what === "edge") stack.edge.kill();
  if (what === "gate" || what === "region") stack.gates.get(region)!.kill();
  if (what === "replica") stack.replicas.get(`${region}-0`)!.kill();
  if (what === "region") {
    for (const [id, replica] of stack.replicas) if (id.startsWith(`${region}-`)) replica.kill();
  }
}

export function named({ what, region }: Kill): string {
  return what === "edge" ? "the edge with its objects" : `a ${what} (${region})`;
}

async function everyReplicaUsable(stack: Stack): Promise<void> {
  const untilMs = Date.now() + READY_WITHIN_MS;
  // What was just killed may still be counted as usable: the gates look once a second.
  await sleep(1_500);
  for (const { name, replicas } of stack.info.regions) {
    for (;;) {
      const answer = await stack.admin.call("GET", `pools/${name}`).catch(() => null);
      const usable = JSON.stringify(answer?.body ?? "").split('"usable":true').length - 1;
      if (usable >= replicas.length) break;
      if (Date.now() > untilMs) throw new Error(`the replicas of ${name} do not come back`);
      await sleep(100);
    }
  }
}

async function settled(stack: Stack): Promise<TenantUsage> {
  const untilMs = Date.now() + SETTLED_WITHIN_MS;
  for (;;) {
    const usage = (await stack.admin.must(
      200,
      "GET",
      `tenants/${stack.info.tenant.id}/usage`,
    )) as TenantUsage;
    if (usage.open.reservations === 0 || Date.now() > untilMs) return usage;
    await sleep(200);
  }
}

/** The edge says in its log how often each stream was carried on. */
function withTraces(rows: readonly Row[], stateDir: string): Row[] {
  const traces = new Map<string, { resumes: number; attempts: number }>();
  for (const line of readFileSync(join(stateDir, "logs/edge.log"), "utf8").split("\n")) {
    const at = line.indexOf('{"event":"request"');
    if (at < 0) continue;
    const trace = JSON.parse(line.slice(at)) as { requestId: string; resumes: number; attempts: number };
    traces.set(trace.requestId, trace);
  }
  return rows.map((row) => {
    const { resumes = 0, attempts = 0 } = traces.get(row.got?.requestId ?? "") ?? {};
    return { ...row, resumes, attempts };
  });
}

function sum(rows: readonly Row[], of: (row: Row) => number): number {
  return rows.reduce((total, row) => total + of(row), 0);
}

function sleep(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
