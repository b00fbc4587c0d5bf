import { writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { SCENARIOS } from "../sim/fleet/scenarios/all.ts";
import { table } from "./routing/tables.ts";
import { timeline } from "./routing/timeline.ts";

/**
 * `npm run scenarios [-- --only NAME] [--seed S] [--pictures] [--json FILE]`: what goes wrong in regions, replicas and
 * objects, and what clients see of it, in virtual time. Exits with 1 when something that had to hold did not.
 */
const { values: flags } = parseArgs({
  options: {
    only: { type: "string" },
    seed: { type: "string", default: "1" },
    pictures: { type: "boolean", default: false },
    json: { type: "string" },
  },
});
const IMAGES = fileURLToPath(new URL("../docs/images/", import.meta.url));
const chosen = SCENARIOS.filter(({ name }) => flags.only === undefined || name === flags.only);
if (chosen.length === 0) {
  console.error(`scenarios: ${SCENARIOS.map(({ name }) => name).join(", ")}`);
  process.exit(2);
}
const results: object[] = [];
let failed = 0;
for (const scenario of chosen) {
  const report = await scenario.play(Number(flags.seed));
  const { checks, figures, seen } = report;
  const checkRows = checks.map(({ what, limit, measured, ok }) => {
    return [what, limit, shown(measured), ok ? "yes" : "**no**"];
  });
  const figureRows = Object.entries(figures).map(([what, value]) => [what, "", shown(value), ""]);
  console.log(`### ${scenario.title}\n\n\`${scenario.name}\`: ${seen.length} requests\n`);
  console.log(`${table(["", "limit", "measured", "held"], [...checkRows, ...figureRows])}\n`);
  if (flags.pictures) writeFileSync(`${IMAGES}scenario-${scenario.name}.svg`, timeline(scenario, report));
  results.push({ name: scenario.name, requests: seen.length, checks, figures });
  failed += checks.filter(({ ok }) => !ok).length;
}
if (flags.json) writeFileSync(flags.json, `${JSON.stringify({ scenarios: results }, null, 2)}\n`);
if (failed > 0) console.error(`${failed} did not hold`);
process.exitCode = failed === 0 ? 0 : 1;

function shown(value: number): string {
  return Number.isInteger(value) ? value.toLocaleString("en") : value.toFixed(3);
}
