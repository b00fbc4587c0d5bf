import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { readTrace } from "../sim/fleet/trace.ts";
import { simulatedPlan } from "../sim/stack/plan.ts";
import { freePorts } from "../sim/stack/ports.ts";
import { startStack } from "../sim/stack/stack.ts";
import { POLICIES, type PolicyName } from "../src/catalogue/policy.ts";
import { table } from "./routing/tables.ts";
import { type Played, play } from "./stack/play.ts";
import { conversations, pooledShare } from "./stack/prompts.ts";
import { Progress } from "./support/progress.ts";

/**
 * `npm run bench:stack [-- --rate R --requests N --replicas N --cache TOKENS --policies A,B --json FILE]`: policies against each other
 * through the whole local stack, in real time: unmodified OpenAI SDK, edge, objects, gate, simulated replicas. Exits with
 * 1 when the chain from naming blocks to cached tokens does not pay: hits of the default clearly above those by load.
 */
const { values: flags } = parseArgs({
  options: {
    rate: { type: "string", default: "14" },
    requests: { type: "string", default: "597" },
    replicas: { type: "string", default: "4" },
    cache: { type: "string", default: "400000" },
    policies: { type: "string", default: "predicted-ttft,chwbl,session,least-load" },
    json: { type: "string" },
  },
});
const SAMPLE = fileURLToPath(new URL("../sim/fleet/traces/conversation-1500.jsonl.gz", import.meta.url));
const ENGINE_BLOCK_TOKENS = 16;
/** What teaches pool and edge how long prompts take, before anything counts. */
const WARM_UP = 40;
/** So much more of the prompts' tokens must be cached than by load alone. */
const CLEARLY = 1.3;

const policies = flags.policies.split(",").map((name): PolicyName => {
  const policy = POLICIES.find((known) => known === name);
  if (policy === undefined) throw new Error(`${name} is none of ${POLICIES.join(", ")}`);
  return policy;
});
const ratePerSecond = Number(flags.rate);
const lines = conversations(readTrace(SAMPLE)).slice(0, Number(flags.requests));
/** A replica's. Tokens are a quarter of the trace's, so this is GPU and host tier of bench:routing, a fifth less. */
const cacheTokens = Number(flags.cache);
const plan = simulatedPlan(Number(flags.replicas));
const stateDir = mkdtempSync(join(tmpdir(), "meridian-bench-"));
const [port] = (await freePorts(1, 24_000)) as [number];
const stack = await startStack({
  plan: { ...plan, regions: plan.regions.slice(0, 1) },
  port,
  stateDir,
  simArgs: ["--num-gpu-blocks", String(Math.floor(cacheTokens / ENGINE_BLOCK_TOKENS))],
});
const played: Played[] = [];
try {
  const progress = new Progress(policies.length + 1);
  await play(stack, policies[0]!, lines.slice(0, WARM_UP), { ratePerSecond, world: "Warm up." });
  progress.step("warm-up");
  for (const policy of policies) {
    played.push(await play(stack, policy, lines, { ratePerSecond, world: `Played by ${policy}.` }));
    progress.step(policy);
  }
} finally {
  await stack.stop();
  rmSync(stateDir, { recursive: true, force: true });
}

const byLoad = played.find(({ policy }) => policy === "least-load") ?? played.at(-1)!;
const figure = (ms: number, baseMs: number) => `${ms.toFixed(0)} (${(ms / baseMs).toFixed(2)})`;
const percent = (share: number) => (100 * share).toFixed(1);
const pooled = pooledShare(lines, cacheTokens * Number(flags.replicas));
const head = [
  "policy",
  "mean, ms",
  "median, ms",
  "p99, ms",
  "cached, %",
  "of pooled, %",
  "told, %",
  "errors",
];
const rows = played.map((one) => [
  ...[one.policy, figure(one.meanMs, byLoad.meanMs), figure(one.p50Ms, byLoad.p50Ms)],
  ...[
    figure(one.p99Ms, byLoad.p99Ms),
    percent(one.cachedShare),
    percent(one.cachedShare / pooled),
    percent(one.toldShare),
    String(one.errors),
  ],
]);
console.log(`\nTime to first token (in brackets: ÷ that of ${byLoad.policy}), ${lines.length} requests at`);
console.log(
  `${ratePerSecond}/s on ${flags.replicas} replicas of ${cacheTokens} tokens each. One cache of all of them would have`,
);
console.log(`${percent(pooled)} % of the prompts' tokens (pooled), one without an end ${percent(pooledShare(lines, Infinity))} %.
`);
console.log(table(head, rows));
const learned = played.map(({ learnedMsPerToken }) => learnedMsPerToken?.toFixed(3) ?? "nothing");
console.log(`\nPrefill as the pool learned it, ms a token: ${learned.join(", ")} (the engines': 0.100)`);
if (flags.json) writeFileSync(flags.json, `${JSON.stringify({ ratePerSecond, played }, null, 2)}\n`);

const faults = played.flatMap((one) => [
  ...(one.errors > 0 ? [`${one.policy}: ${one.errors} errors`] : []),
  ...(Math.abs(one.cachedShare - one.toldShare) > 0.001
    ? [`${one.policy}: clients are told other hits`]
    : []),
  ...(one.learnedMsPerToken === null
    ? [`${one.policy}: the pool has not learned how long prompts take`]
    : []),
]);
const ours = played.find(({ policy }) => policy === "predicted-ttft");
if (ours !== undefined && byLoad.policy === "least-load" && ours.cachedShare < CLEARLY * byLoad.cachedShare) {
  faults.push("hits of predicted-ttft are not clearly above those of least-load");
}
for (const fault of faults) console.error(fault);
process.exitCode = faults.length === 0 ? 0 : 1;
