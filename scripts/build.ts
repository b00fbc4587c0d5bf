import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { build, type Plugin } from "esbuild";

const ROOT = fileURLToPath(new URL("..", import.meta.url));
export const DIST = join(ROOT, "dist");

/** Bundles the Worker into one module, as workerd and wrangler run it; benchmarks may change parts. Returns its path. */
export async function buildWorker(
  outDir = DIST,
  changes: { readonly entry?: string; readonly plugins?: Plugin[] } = {},
): Promise<string> {
  mkdirSync(outDir, { recursive: true });
  const outfile = join(outDir, "worker.js");
  await build({
    entryPoints: [changes.entry ?? join(ROOT, "src/worker.ts")],
    plugins: changes.plugins ?? [],
    outfile,
    bundle: true,
    format: "esm",
    platform: "neutral",
    target: "es2024",
    mainFields: ["module", "main"],
    conditions: ["workerd", "worker", "browser"],
    external: ["cloudflare:*", "node:*"],
    legalComments: "none",
    logLevel: "warning",
  });
  return outfile;
}

/** Bundles the gate into one file that needs Node 24 and nothing else. Returns its path. */
export async function buildGate(outDir = DIST): Promise<string> {
  mkdirSync(outDir, { recursive: true });
  const outfile = join(outDir, "gate.mjs");
  await build({
    entryPoints: [join(ROOT, "src/gate/main.ts")],
    outfile,
    bundle: true,
    format: "esm",
    platform: "node",
    target: "node24",
    legalComments: "none",
    logLevel: "warning",
  });
  return outfile;
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const only = process.argv[2];
  if (only !== "gate") console.log(await buildWorker());
  if (only !== "worker") console.log(await buildGate());
}
