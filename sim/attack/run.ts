import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { TenantUsage } from "../../src/limits/messages.ts";
import { random as randomBy } from "../chaos/random.ts";
import { simulatedPlan } from "../stack/plan.ts";
import { freePorts } from "../stack/ports.ts";
import { type Stack, startStack } from "../stack/stack.ts";
import { assault, type Made } from "./clients.ts";
import { lateReports } from "./late-reports.ts";
import { IN_TIME, overrunMax, type Round, type Target } from "./rounds.ts";
import { type Emitted, type Found, windows } from "./windows.ts";

export interface Row extends Found {
  readonly target: Target;
  readonly made: readonly Made[];
  /** Emitted while clients attacked, of what the limit allowed in that time. */
  readonly usedShare: number;
  /** Requests that ran at once at the engines, at most. */
  readonly running: number;
  readonly requests: number;
  /** Overrun that the tenant's policy allows. */
  readonly allowed: number;
  /** Reservations that are open after everything has ended. */
  readonly open: number;
  readonly usage: TenantUsage;
}

/** What a stack needs to be attacked, and the attack. */
export interface Rig {
  readonly simArgs: string[];
  reportsBy(edgeUrl: string): Promise<string>;
  run(stack: Stack, round: Round, progress: (line: string) => void): Promise<Row[]>;
}

/** The same seed asks the same and kills at the same times; what comes of it differs, since machines do. */
export function attackRig(seed: number): Rig {
  const random = randomBy(seed);
  const lateness = { ...IN_TIME };
  let tenants = 0;
  return {
    // The ledgers tell when. A stream's pace is a real model's; frames of four tokens, so that this machine keeps up.
    simArgs: ["--ledger-times", "--speed", "0.4", "--stream-interval", "4"],
    reportsBy: (edgeUrl) => lateReports(edgeUrl, lateness, random),
    async run(stack, round, progress) {
      Object.assign(lateness, round.lateness);
      try {
        return await runRound(stack, round, random, () => `attacked-${++tenants}`, progress);
      } finally {
        Object.assign(lateness, IN_TIME);
      }
    },
  };
}

export async function runAttack(
  rounds: readonly Round[],
  seed: number,
  progress: (line: string) => void,
): Promise<Row[]> {
  const rig = attackRig(seed);
  const stateDir = mkdtempSync(join(tmpdir(), "meridian-attack-"));
  const [port] = await freePorts(1, 21_000 + (process.pid % 300) * 30);
  const { reportsBy, simArgs } = rig;
  const stack = await startStack({
    ...{ plan: simulatedPlan(), port: port!, stateDir, progress, simArgs, reportsBy },
  });
  try {
    const rows: Row[] = [];
    for (const round of rounds) rows.push(...(await rig.run(stack, round, progress)));
    return rows;
  } finally {
    await stack.stop();
    rmSync(stateDir, { recursive: true, force: true });
  }
}

async function runRound(
  stack: Stack,
  round: Round,
  random: () => number,
  nextId: () => string,
  progress: (line: string) => void,
): Promise<Row[]> {
  const tenants = await Promise.all(
    round.targets.map(async ({ limits, overdraft }) => {
      const id = nextId();
      await stack.admin.must(201, "POST", "tenants", { id, name: id, limits, overdraft });
      const { key } = (await stack.admin.must(201, "POST", `tenants/${id}/keys`, {})) as { key: string };
      return { id, key, salt: await saltOf(stack, key) };
    }),
  );
  const fromMs = Date.now();
  const untilMs = fromMs + round.seconds * 1_000;
  let over = false;
  const killing = (async () => {
    while (round.killEveryMs !== null && Date.now() + round.killEveryMs < untilMs) {
      await sleep(round.killEveryMs * (0.5 + random()));
      if (over || Date.now() > untilMs) return;
      progress("killing the edge");
      stack.edge.kill();
    }
  })();
  const made = await Promise.all(
    round.targets.map((target, index) =>
      assault({
        baseUrl: stack.info.baseUrl,
        key: tenants[index]!.key,
        ...target,
        untilMs,
        random,
        leaveAtEnd: round.leaveAtEnd ?? false,
      }),
    ),
  );
  over = true;
  await killing;
  const usages = await Promise.all(tenants.map(({ id }) => settled(stack, id, round.settledWithinMs)));
  const entries = await entriesOf(stack);
  return round.targets.map((target, index): Row => {
    const own = entries.filter(({ salt }) => salt === tenants[index]!.salt);
    const emitted = own.flatMap(({ times }) => times).filter(([atMs]) => atMs >= fromMs);
    const { tokensPerMinute } = target.limits;
    const during = emitted.reduce((sum, [atMs, tokens]) => sum + (atMs < untilMs ? tokens : 0), 0);
    const running = mostAtOnce(own.map(({ times }) => times));
    return {
      target,
      made: made[index]!,
      ...windows(emitted, tokensPerMinute),
      usedShare: during / (tokensPerMinute * (1 + (untilMs - fromMs) / 60_000)),
      running,
      requests: own.length,
      allowed: overrunMax(target, round, running),
      open: usages[index]!.open.reservations,
      usage: usages[index]!,
    };
  });
}

async function settled(stack: Stack, tenant: string, withinMs: number): Promise<TenantUsage> {
  const untilMs = Date.now() + withinMs;
  for (;;) {
    const usage = (await stack.admin.must(200, "GET", `tenants/${tenant}/usage`)) as TenantUsage;
    if (usage.open.reservations === 0 || Date.now() > untilMs) return usage;
    await sleep(500);
  }
}

interface Entry {
  readonly salt?: string;
  readonly times: readonly Emitted[];
  readonly promptTokens: number;
  readonly outputTokens: number;
}

async function entriesOf(stack: Stack): Promise<Entry[]> {
  const urls = stack.info.regions.flatMap(({ replicas }) => replicas.map(({ url }) => url));
  const ledgers = await Promise.all(
    urls.map(
      async (url) =>
        (await (await fetch(`${url}/_sim/ledger`)).json()) as { requests: Record<string, Entry> },
    ),
  );
  return ledgers.flatMap(({ requests }) => Object.values(requests));
}

/** One request tells which salt is the tenant's. */
async function saltOf(stack: Stack, key: string): Promise<string> {
  const answer = await fetch(`${stack.info.baseUrl}/v1/chat/completions`, {
    method: "POST",
    headers: { authorization: `Bearer ${key}`, "content-type": "application/json" },
    body: JSON.stringify({ model: "sim-chat", max_tokens: 1, messages: [{ role: "user", content: "Hi" }] }),
  });
  await answer.arrayBuffer();
  const id = answer.headers.get("x-request-id")!;
  const urls = stack.info.regions.flatMap(({ replicas }) => replicas.map(({ url }) => url));
  for (const url of urls) {
    const ledger = (await (await fetch(`${url}/_sim/ledger`)).json()) as { requests: Record<string, Entry> };
    const salt = ledger.requests[id]?.salt;
    if (salt !== undefined) return salt;
  }
  throw new Error(`no replica knows of ${id} (status ${answer.status})`);
}

function mostAtOnce(runs: readonly (readonly Emitted[])[]): number {
  const edges = runs
    .filter((times) => times.length > 0)
    .flatMap((times) => [
      [times[0]![0], 1],
      [times.at(-1)![0], -1],
    ])
    .sort((a, b) => a[0]! - b[0]! || a[1]! - b[1]!);
  let [now, most] = [0, 0];
  for (const [, step] of edges) {
    now += step!;
    most = Math.max(most, now);
  }
  return most;
}

function sleep(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
