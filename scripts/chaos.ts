import { writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { picture } from "../sim/chaos/picture.ts";
import { type Result, runChaos } from "../sim/chaos/run.ts";

const USAGE = `npm run chaos -- [--streams N] [--seed S] [--json FILE] [--svg FILE]

  Starts a local stack of three regions, sends N requests (200) by unmodified SDKs, and kills replicas, gates,
  a region, the edge. Then compares every answer with the unbroken one and the bill with what was delivered.
  The same seed asks the same and kills the same. Ends with 1 when anything was missed.`;

/** The checks that must hold, each with what was found. */
function checks({
  rows,
  charged,
  delivered,
  openReservations,
}: Result): [name: string, holds: boolean, found: string][] {
  const missed = rows.filter(({ miss }) => miss !== null);
  return [
    [
      "every answer equals the unbroken one",
      missed.length === 0,
      `${rows.length - missed.length} of ${rows.length}`,
    ],
    [
      "prompt tokens charged = delivered",
      charged.promptTokens === delivered.promptTokens,
      `${charged.promptTokens} / ${delivered.promptTokens}`,
    ],
    [
      "output tokens charged = delivered",
      charged.outputTokens === delivered.outputTokens,
      `${charged.outputTokens} / ${delivered.outputTokens}`,
    ],
    ["nothing stays reserved", openReservations === 0, String(openReservations)],
  ];
}

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      streams: { type: "string", default: "200" },
      seed: { type: "string", default: "1" },
      json: { type: "string" },
      svg: { type: "string", default: fileURLToPath(new URL("../docs/images/chaos.svg", import.meta.url)) },
      help: { type: "boolean" },
    },
  });
  if (values.help) {
    console.log(USAGE);
    return;
  }
  const [streams, seed] = [Number(values.streams), Number(values.seed)];
  if (!Number.isInteger(streams) || streams < 1 || !Number.isInteger(seed)) throw new Error(USAGE);
  const result = await runChaos(streams, seed, (line) => console.log(`  … ${line}`));
  writeFileSync(values.svg, picture(result));
  if (values.json !== undefined) writeFileSync(values.json, `${JSON.stringify(result, null, 2)}\n`);
  const { rows, kills } = result;
  const resumed = rows.filter(({ resumes }) => resumes > 0).length;
  const anew = rows.filter(({ resumes, attempts }) => resumes === 0 && attempts > 1).length;
  console.log(
    `\n${rows.length} requests, ${kills.length} kills, ${resumed} carried on, ${anew} made anew (seed ${seed})\n`,
  );
  const found = checks(result);
  for (const [name, holds, value] of found)
    console.log(`${holds ? "ok    " : "MISSED"}  ${name.padEnd(38)} ${value}`);
  for (const { request, miss } of rows.filter(({ miss }) => miss !== null)) {
    console.log(`MISSED  request ${request.index} (${request.endpoint}): ${miss!.slice(0, 200)}`);
  }
  console.log(`\npicture: ${values.svg}`);
  process.exitCode = found.every(([, holds]) => holds) ? 0 : 1;
}

main().catch((error: unknown) => {
  console.error(error instanceof Error ? error.message : error);
  process.exitCode = 2;
});
