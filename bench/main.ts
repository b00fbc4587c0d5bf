import { spawnSync } from "node:child_process";
import { fileURLToPath } from "node:url";

/** `npm run bench`: every benchmark, one after another. Figures are ratios within one run; machines differ. */
const BENCHES = ["engine.ts", "gate.ts", "edge.ts"];

let failed = false;
for (const name of BENCHES) {
  console.log(`\n=== bench/${name}`);
  const file = fileURLToPath(new URL(name, import.meta.url));
  const { status } = spawnSync(process.execPath, [file, ...process.argv.slice(2)], { stdio: "inherit" });
  failed ||= status !== 0;
}
process.exit(failed ? 1 : 0);
