import { writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { readTrace, type TraceLine } from "../sim/fleet/trace.ts";
import { type Cell, curve, type Plan, runsOf } from "./routing/curve.ts";
import { type Goal, goalsOf, OURS } from "./routing/goals.ts";
import {
  CONTENDERS,
  type Contender,
  DEFAULT_CONTENDERS,
  type EngineName,
  TENANTS,
} from "./routing/measure.ts";
import { INTERACTIVE_SHARE, type Overload, overload } from "./routing/overload.ts";
import { loadPicture } from "./routing/pictures.ts";
import { COLUMNS, figureTable, goalTable, overloadTable, waitTable } from "./routing/tables.ts";
import { waitPicture } from "./routing/wait-picture.ts";
import { type WaitFigures, WaitRecord, waitFigures } from "./routing/waits.ts";
import { Progress } from "./support/progress.ts";

/**
 * `npm run bench:routing -- --trace FILE --speed X,Y --json FILE`: how soon first tokens come, by policy and load, from
 * the simulator, so in virtual time and the same on every machine. What each key means: docs/evidence.md.
 */
const USAGE = `npm run bench:routing -- [--trace FILE] [--speed X,Y] [--policies A,B] [--engine h|gpu] [--seeds N]
                         [--quick] [--pictures] [--json FILE]
policies: ${CONTENDERS.join(", ")}`;
const ROOT = fileURLToPath(new URL("../", import.meta.url));
const SAMPLE = "sim/fleet/traces/conversation-1500.jsonl.gz";
/** What goals are stated for, known by its size: requests, and tokens of their prompts. */
const CONVERSATION = { requests: 12_031, promptTokens: 144_793_823 };
/** Twice 2.3×: where throughput stops to grow, and the mean time to first token passes 5 s. */
const OVERLOAD_SPEED = 4.6;

const { values: flags } = parseArgs({
  options: {
    trace: { type: "string" },
    speed: { type: "string" },
    policies: { type: "string" },
    engine: { type: "string" },
    seeds: { type: "string" },
    quick: { type: "boolean", default: false },
    pictures: { type: "boolean", default: false },
    json: { type: "string" },
  },
});

const lines = readTrace(flags.trace ?? ROOT + SAMPLE);
const plan = planOf(lines);
const ofConversation =
  lines.length === CONVERSATION.requests && promptTokens(lines) === CONVERSATION.promptTokens;
const overloaded = overloadContenders(plan);
const progress = new Progress(runsOf(plan) + overloaded.length);
const waits = new WaitRecord();
const cells = curve(plan, (played) => {
  waits.add(played, false);
  progress.step(`${played.engine} ${played.speed}× ${played.contender}`);
});
const overloads = overloaded.map((contender) => {
  const peak = peakOf(cells, contender);
  const one = overload(lines, contender, OVERLOAD_SPEED, peak, plan.seeds, (run) => waits.add(run, true));
  progress.step(`overload ${contender}`);
  return one;
});
const goals = ofConversation
  ? goalsOf(cells, overloads.find(({ contender }) => contender === OURS) ?? null)
  : [];
const waitGroups = waits.groups();
const waitErrors = waitGroups.map(waitFigures);
print(cells, overloads, waitErrors, goals);
if (flags.pictures) {
  for (const engine of plan.engines) {
    writeFileSync(`${ROOT}docs/images/routing-${engine}.svg`, loadPicture(cells, engine, lines.length));
  }
  if (waitGroups.some(({ isOverload }) => isOverload)) {
    writeFileSync(`${ROOT}docs/images/wait-error.svg`, waitPicture(waitGroups));
  }
}
if (flags.json) {
  const trace = { requests: lines.length, promptTokens: promptTokens(lines), isConversation: ofConversation };
  writeFileSync(
    flags.json,
    `${JSON.stringify({ trace, curve: cells, overload: overloads, waits: waitErrors, goals }, null, 2)}\n`,
  );
}
process.exitCode = goals.every(({ met }) => met) ? 0 : 1;

function planOf(lines: readonly TraceLine[]): Plan {
  const contenders = (flags.policies?.split(",") ?? [...DEFAULT_CONTENDERS]) as Contender[];
  const engines = (flags.engine?.split(",") ?? ["h", "gpu"]) as EngineName[];
  const speeds = (flags.speed ?? (flags.quick ? "1,1.6,2.2" : "1,1.3,1.6,1.9,2.2,2.6"))
    .split(",")
    .map(Number);
  const seeds = Number(flags.seeds ?? (flags.quick ? 1 : 2));
  const isKnown =
    contenders.every((one) => CONTENDERS.includes(one)) &&
    engines.every((one) => one === "h" || one === "gpu") &&
    speeds.every((speed) => speed > 0 && speed <= 100) &&
    Number.isSafeInteger(seeds) &&
    seeds > 0;
  if (isKnown) return { lines, speeds, contenders, engines, seeds };
  console.error(USAGE);
  process.exit(2);
}

/** Overload is compared with the peak of the same policy, so it needs a curve that goes past saturation. */
function overloadContenders({ speeds, contenders, engines }: Plan): Contender[] {
  if (!engines.includes("h") || Math.max(...speeds) < 2.2) return [];
  const compared: readonly Contender[] = [OURS, "plain least-load", "plain cache-aware"];
  return compared.filter((one) => contenders.includes(one));
}

function peakOf(cells: readonly Cell[], contender: Contender): number {
  const own = cells.filter((cell) => cell.engine === "h" && cell.contender === contender);
  return Math.max(...own.map(({ tokensPerSecond }) => tokensPerSecond));
}

function promptTokens(lines: readonly TraceLine[]): number {
  return lines.reduce((total, { promptTokens }) => total + promptTokens, 0);
}

function print(
  cells: readonly Cell[],
  overloads: readonly Overload[],
  waitErrors: readonly WaitFigures[],
  goals: readonly Goal[],
): void {
  const { engines, seeds } = plan;
  console.log(
    `${lines.length} requests of ${flags.trace ? "a trace" : "the bundled sample"}, 8 replicas, seeds averaged: ${seeds}. ` +
      `Made up, since no trace has them: ${TENANTS} tenants with a salt each, bands, errors of estimates.\n`,
  );
  for (const engine of engines) {
    console.log(`## ${engine === "h" ? "Engine H: GPU and host tier" : "GPU memory alone"}\n`);
    for (const column of Object.values(COLUMNS)) {
      console.log(`${column.title}\n\n${figureTable(cells, engine, column)}\n`);
    }
  }
  if (overloads.length > 0) {
    const share = Math.round(100 * INTERACTIVE_SHARE);
    console.log(`## Overload: ${OVERLOAD_SPEED}×, ${share} % interactive\n\n${overloadTable(overloads)}\n`);
  }
  if (waitErrors.length > 0) {
    console.log(`## Waits predicted by ${OURS}, engine H, all seeds\n\n${waitTable(waitErrors)}\n`);
  }
  if (goals.length > 0) console.log(`## Goals\n\n${goalTable(goals)}`);
  else console.log("No goals: they are stated for the whole conversation trace, 12,031 requests.");
}
