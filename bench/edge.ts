/**
 * CPU of the edge per request and per streamed event, against a bare proxy on the same runtime in the same run.
 * `node bench/edge.ts [--rounds 3] [--json FILE]`
 *
 * The edge runs with all limits, two object calls a request, gates and simulated replicas behind it; the bare proxy is
 * `fetch(request)` on workerd, straight to a replica. Counted is the runtime's own processor time, read from the
 * kernel before and after each case.
 */
import { spawn } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { Agent } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { WORKERD } from "../sim/stack/edge.ts";
import { simulatedPlan } from "../sim/stack/plan.ts";
import { freePorts } from "../sim/stack/ports.ts";
import { startStack } from "../sim/stack/stack.ts";
import { chatOnce } from "./support/chat.ts";
import { cpuMs, median } from "./support/cpu.ts";

const { values: flags } = parseArgs({
  options: { rounds: { type: "string", default: "3" }, json: { type: "string" } },
});
const ROUNDS = Number(flags.rounds);
const AGENT = new Agent({ keepAlive: true, maxSockets: 256 });
/** All limits are on, and none is reached. */
const LIMITS = {
  tokensPerMinute: 1e9,
  tokensPerDay: 1e11,
  requestsPerMinute: 1e7,
  concurrentRequests: 10_000,
};

interface Case {
  readonly name: string;
  readonly requests: number;
  readonly concurrency: number;
  readonly tokens: number;
  readonly stream: boolean;
}
const CASES: readonly Case[] = [
  { name: "one JSON of 1 token, 1 at a time", requests: 300, concurrency: 1, tokens: 1, stream: false },
  { name: "one JSON of 1 token, 32 at a time", requests: 3_000, concurrency: 32, tokens: 1, stream: false },
  { name: "a stream of 1 event, 32 at a time", requests: 1_500, concurrency: 32, tokens: 1, stream: true },
  { name: "a stream of 300 events, 32 at a time", requests: 96, concurrency: 32, tokens: 300, stream: true },
];

/** Microseconds of processor time per request. */
async function measure(url: string, key: string, pid: number, each: Case): Promise<number> {
  let left = each.requests;
  const before = cpuMs(pid);
  const worker = async () => {
    while (left-- > 0) await chatOnce(AGENT, url, key, each);
  };
  await Promise.all(Array.from({ length: each.concurrency }, worker));
  return ((cpuMs(pid) - before) * 1_000) / each.requests;
}

const PROXY = `export default { fetch(request, env) {
  const url = new URL(request.url);
  return fetch(env.ORIGIN + url.pathname, { method: "POST", headers: request.headers, body: request.body });
} };`;

async function startProxy(dir: string, port: number, origin: string) {
  writeFileSync(join(dir, "proxy.js"), PROXY);
  writeFileSync(
    join(dir, "proxy.capnp"),
    `using Workerd = import "/workerd/workerd.capnp";
const config :Workerd.Config = (
  services = [
    (name = "proxy", worker = .proxy),
    (name = "origins", network = (allow = ["private", "local"])),
  ],
  sockets = [(name = "http", address = "127.0.0.1:${port}", http = (), service = "proxy")],
);
const proxy :Workerd.Worker = (
  modules = [(name = "proxy.js", esModule = embed "proxy.js")],
  compatibilityDate = "2026-11-01",
  bindings = [(name = "ORIGIN", text = "${origin}")],
  globalOutbound = "origins",
);
`,
  );
  const child = spawn(WORKERD, ["serve", join(dir, "proxy.capnp")], { stdio: "ignore" });
  const url = `http://127.0.0.1:${port}`;
  for (let tries = 0; tries < 100; tries++) {
    const up = await fetch(url, { method: "POST" }).then(
      () => true,
      () => false,
    );
    if (up) return { child, url };
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  throw new Error("the bare proxy did not start");
}

const dir = mkdtempSync(join(tmpdir(), "meridian-bench-"));
const [port] = (await freePorts(1, 24_000)) as [number];
const stack = await startStack({
  plan: simulatedPlan(),
  port,
  stateDir: dir,
  simArgs: ["--speed", "20"],
  tenantLimits: LIMITS,
});
const [proxyPort] = (await freePorts(1, 26_000)) as [number];
const proxy = await startProxy(dir, proxyPort, stack.info.regions[0]!.replicas[0]!.url);
try {
  const rows: { name: string; edgeUs: number; bareUs: number; ratio: number }[] = [];
  const [edgePid, barePid] = [stack.edge.pid!, proxy.child.pid!];
  for (const each of CASES) {
    const edge: number[] = [];
    const bare: number[] = [];
    for (let round = 0; round <= ROUNDS; round++) {
      process.stdout.write(`\r  ${each.name}: round ${round} of ${ROUNDS}   `);
      const edgeUs = await measure(stack.info.baseUrl, stack.info.tenant.key, edgePid, each);
      const bareUs = await measure(proxy.url, stack.info.tenant.key, barePid, each);
      // The first round warms both up.
      if (round > 0) edge.push(edgeUs);
      if (round > 0) bare.push(bareUs);
    }
    const [edgeUs, bareUs] = [median(edge), median(bare)];
    rows.push({ name: each.name, edgeUs, bareUs, ratio: edgeUs / bareUs });
  }
  const [few, many] = [rows[2]!, rows[3]!];
  const perEvent = (long: number, short: number) => (long - short) / (CASES[3]!.tokens - 1);
  const edgeUs = perEvent(many.edgeUs, few.edgeUs);
  const bareUs = perEvent(many.bareUs, few.bareUs);
  rows.push({ name: "each further event of a stream", edgeUs, bareUs, ratio: edgeUs / bareUs });
  console.log(
    `\r${"CPU of the runtime, µs".padEnd(42)}${"edge".padStart(10)}${"bare proxy".padStart(14)}${"ratio".padStart(9)}`,
  );
  for (const row of rows) {
    const cells = [
      row.edgeUs.toFixed(0).padStart(10),
      row.bareUs.toFixed(0).padStart(14),
      row.ratio.toFixed(2).padStart(9),
    ];
    console.log(`${row.name.padEnd(42)}${cells.join("")}`);
  }
  if (flags.json) writeFileSync(flags.json, `${JSON.stringify({ rounds: ROUNDS, rows }, null, 2)}\n`);
} finally {
  proxy.child.kill();
  await stack.stop();
  AGENT.destroy();
  rmSync(dir, { recursive: true, force: true });
}
