// Measures what docs/vllm.md says of time, usage, leaving and failing: node scripts/vllm/probe.ts [--dir DIR]
// [--only NAME,NAME]. Starts a server for each probe; all of them take about 10 minutes.
import { resolve } from "node:path";
import { parseArgs } from "node:util";
import { layoutOf } from "./layout.ts";
import { probeEngineKill, probeFreeze, probeKill, probeTerminate } from "./probes/failure.ts";
import { probeLeaving } from "./probes/leaving.ts";
import { probeResume } from "./probes/resume.ts";
import { probeQueue, probeUsage } from "./probes/streams.ts";
import { type VllmServer, withServer } from "./server.ts";

const PORT = 8812;

interface Probe {
  args: string[];
  run: (server: VllmServer) => Promise<void>;
}

const PARSER = ["--enable-auto-tool-choice", "--tool-call-parser", "hermes"];
const PROBES: Record<string, Probe> = {
  leaving: { args: [], run: probeLeaving },
  queue: { args: ["--max-num-seqs", "1"], run: probeQueue },
  usage: { args: [], run: probeUsage },
  "usage-with-parser": { args: PARSER, run: probeUsage },
  resume: { args: [], run: probeResume },
  freeze: { args: [], run: probeFreeze },
  "terminate-1": { args: [], run: probeTerminate },
  "terminate-2": { args: [], run: probeTerminate },
  "terminate-3": { args: [], run: probeTerminate },
  "terminate-drain": { args: ["--shutdown-timeout", "20"], run: probeTerminate },
  kill: { args: [], run: probeKill },
  "kill-engine": { args: [], run: probeEngineKill },
};

const { values } = parseArgs({
  options: { dir: { type: "string", default: ".meridian/vllm" }, only: { type: "string" } },
});
const layout = layoutOf(resolve(values.dir));
for (const name of values.only?.split(",") ?? Object.keys(PROBES)) {
  const probe = PROBES[name];
  if (probe === undefined) throw new Error(`--only knows ${Object.keys(PROBES).join(", ")}, not ${name}`);
  console.log(`# ${name} ${probe.args.join(" ")}`);
  const log = `${layout.dir}/probe-${name}.log`;
  await withServer({ layout, port: PORT, model: "chat", args: probe.args, log }, probe.run);
}
