import { cyclesIn, type Import } from "./imports.ts";
import type { Violation } from "./source.ts";

interface Layer {
  /** Layers that it may import from; its own always. */
  readonly uses: readonly string[];
  /** Layers that it may import types from, which are gone when the program runs. */
  readonly types?: readonly string[];
  /** Packages that it may import, those below them included: `hono` allows `hono/utils/types`. */
  readonly packages?: readonly string[];
}

const NODE = "node:*";

/**
 * Who may import whom. A file belongs to the layer with the longest name that its path from `src/` starts with, so
 * `durable/stub` is a layer of its own inside `durable`.
 */
export const SRC_LAYERS: Readonly<Record<string, Layer>> = {
  // The bottom: facts, words and forms that everybody shares.
  bounds: { uses: [] },
  errors: { uses: ["bounds"] },
  contract: { uses: ["bounds"], packages: ["zod"] },
  catalogue: { uses: ["bounds", "contract"], packages: ["zod"] },
  deadline: { uses: ["bounds", "errors"] },
  keys: { uses: ["catalogue", "contract"] },
  // Names its objects' classes, for the types of their stubs only.
  env: { uses: [], types: ["durable"] },
  secrets: { uses: ["contract", "errors", "keys", "env"] },

  // What an engine says and means, for the edge and for the gate: so nothing of either platform.
  engine: { uses: ["bounds", "contract", "errors"], types: ["catalogue"], packages: ["zod"] },

  // The pure core. Time, randomness and the world come in as arguments.
  "limits/messages": {
    uses: ["bounds", "errors", "catalogue"],
    types: ["contract", "engine", "routing/messages"],
  },
  limits: {
    uses: ["bounds", "errors", "catalogue", "limits/messages"],
    types: ["contract", "engine", "routing/messages"],
  },
  "routing/messages": {
    uses: ["bounds", "errors", "catalogue"],
    types: ["contract", "engine", "limits/messages"],
  },
  routing: {
    uses: ["bounds", "errors", "catalogue", "routing/messages"],
    types: ["contract", "engine", "limits/messages"],
  },

  // The shells around it.
  "durable/stub": { uses: ["bounds", "catalogue"], types: ["env", "limits/messages", "routing/messages"] },
  durable: {
    uses: [
      "bounds",
      "errors",
      "catalogue",
      "contract",
      "deadline",
      "keys",
      "durable/stub",
      "limits",
      "limits/messages",
      "routing",
      "routing/messages",
    ],
    types: ["env"],
    packages: ["cloudflare:workers"],
  },
  telemetry: {
    uses: ["bounds", "errors"],
    types: ["contract", "engine", "routing/messages", "limits/messages"],
  },
  relay: {
    uses: [
      "bounds",
      "errors",
      "catalogue",
      "contract",
      "deadline",
      "env",
      "keys",
      "secrets",
      "engine",
      "limits",
      "limits/messages",
      "routing",
      "routing/messages",
      "durable/stub",
      "telemetry",
    ],
  },
  api: {
    uses: [
      "bounds",
      "errors",
      "catalogue",
      "contract",
      "deadline",
      "env",
      "keys",
      "secrets",
      "engine",
      "limits/messages",
      "routing",
      "routing/messages",
      "durable/stub",
      "telemetry",
      "relay",
    ],
    // The admin API is typed by the registry that it speaks for.
    types: ["durable"],
    packages: ["hono", "@hono/zod-openapi"],
  },
  worker: { uses: ["errors", "env", "api", "durable"] },
  // A program of its own in the region. It holds its pool's secret and none of the Worker's.
  gate: { uses: ["bounds", "errors", "catalogue", "contract", "engine"], packages: ["zod", NODE] },
};

/** Whole folders: what ships imports nothing of what only builds, simulates or tests it. */
const FOLDERS: Readonly<Record<string, readonly string[]>> = {
  src: ["src"],
  sim: ["sim", "src", "scripts"],
  scripts: ["scripts", "src", "sim"],
  bench: ["bench", "src", "sim", "scripts", "test"],
  test: ["test", "src", "sim", "scripts", "bench"],
};

export function wrongDirections(imports: readonly Import[]): Violation[] {
  return imports.flatMap((one) => {
    const detail = wrongFolder(one) ?? wrongLayer(one);
    return detail === null ? [] : [{ rule: "import direction", path: one.from, line: one.line, detail }];
  });
}

export function circles(imports: readonly Import[]): Violation[] {
  return cyclesIn(imports).map((cycle) => {
    return { rule: "import cycle", path: cycle[0]!, line: null, detail: cycle.join(" → ") };
  });
}

function wrongFolder({ from, to }: Import): string | null {
  const [home, target] = [from.split("/")[0]!, to.split("/")[0]!];
  const known = FOLDERS[home];
  if (known === undefined || FOLDERS[target] === undefined || known.includes(target)) return null;
  return `${home} must not import from ${target}: ${to}`;
}

function wrongLayer({ from, to, typeOnly }: Import): string | null {
  if (!from.startsWith("src/")) return null;
  const home = layerOf(from);
  if (home === null) return "belongs to no layer of the table in test/tidy/layers.ts";
  const layer = SRC_LAYERS[home]!;
  if (!to.startsWith("src/")) {
    if (!to.endsWith(".ts") && isAllowedPackage(to, layer.packages ?? [])) return null;
    return `${home} must not import ${to}`;
  }
  const target = layerOf(to);
  if (target === home) return null;
  if (target !== null && layer.uses.includes(target)) return null;
  if (target !== null && typeOnly && layer.types?.includes(target)) return null;
  return `${home} must not import ${typeOnly ? "types " : ""}from ${target ?? to}: ${to}`;
}

function isAllowedPackage(name: string, allowed: readonly string[]): boolean {
  return allowed.some((one) =>
    one === NODE ? name.startsWith("node:") : name === one || name.startsWith(`${one}/`),
  );
}

export function layerOf(path: string): string | null {
  const inside = path.slice("src/".length).replace(/\.ts$/, "");
  const names = Object.keys(SRC_LAYERS).filter((name) => inside === name || inside.startsWith(`${name}/`));
  return names.sort((a, b) => b.length - a.length)[0] ?? null;
}
