import { cyclesIn, type Import } from "./imports.ts";
import type { Violation } from "./source.ts";

interface Layer {
  /** Layers that it may import from, separated by spaces; its own always. */
  readonly uses: string;
  /** Layers that it may import types from, which are gone when the program runs. */
  readonly types?: string;
  /** Packages that it may import, those below them included: `hono` allows `hono/utils/types`. */
  readonly packages?: string;
}

const NODE = "node:*";
/** What an object says and is told, by the cores behind it. */
const MESSAGES = "limits/messages limits/lease routing/messages";
const GROUND = "bounds errors body catalogue contract deadline keys";

/**
 * Who may import whom. A file belongs to the layer with the longest name that its path from `src/` starts with, so
 * `durable/stub` is a layer of its own inside `durable`.
 */
export const SRC_LAYERS: Readonly<Record<string, Layer>> = {
  // The ground: facts, words and forms that everybody shares.
  bounds: { uses: "" },
  errors: { uses: "" },
  body: { uses: "bounds errors" },
  contract: { uses: "bounds", packages: "zod" },
  catalogue: { uses: "bounds", packages: "zod" },
  deadline: { uses: "" },
  keys: { uses: "catalogue contract" },
  // Names its objects' classes, for the types of their stubs only.
  env: { uses: "", types: "durable" },
  secrets: { uses: "contract errors keys", types: "env" },

  // What an engine says and means, for the edge and for the gate: so nothing of either platform.
  engine: { uses: "bounds contract errors", packages: "zod" },

  // The pure core. Time, randomness and the world come in as arguments.
  "limits/messages": { uses: "bounds errors catalogue", types: "contract engine routing/messages" },
  "limits/lease": { uses: "" },
  "routing/messages": { uses: "bounds errors catalogue", types: "contract engine limits/messages" },
  limits: {
    uses: "bounds errors catalogue limits/messages limits/lease",
    types: "contract engine routing/messages",
  },
  routing: { uses: "bounds errors catalogue routing/messages", types: "contract engine limits/messages" },

  // The shells around it.
  "durable/stub": { uses: "catalogue", types: `env ${MESSAGES}` },
  durable: {
    uses: `${GROUND} durable/stub limits routing ${MESSAGES}`,
    types: "env",
    packages: "cloudflare:workers",
  },
  telemetry: { uses: "", types: `contract engine ${MESSAGES}` },
  upstash: {
    uses: `${GROUND} durable/stub telemetry`,
    types: `env ${MESSAGES}`,
    packages: "@upstash/redis @upstash/ratelimit",
  },
  relay: {
    uses: `${GROUND} secrets engine limits routing ${MESSAGES} durable/stub telemetry upstash`,
    types: "env",
  },
  api: {
    uses: `${GROUND} secrets engine routing ${MESSAGES} durable/stub telemetry upstash relay`,
    // The admin API is typed by the registry that it speaks for.
    types: "env durable",
    packages: "hono @hono/zod-openapi",
  },
  worker: { uses: "errors body api durable", types: "env" },
  // A program of its own in the region. It holds its pool's secret and none of the Worker's.
  gate: { uses: "bounds errors catalogue contract engine", packages: `zod ${NODE}` },
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
  // The simulator is judged by what real engines do: sharing code with the router would hide what both get wrong.
  if (from.startsWith("sim/origin/") && target === "src") return `sim/origin must not import from src: ${to}`;
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
    if (!to.endsWith(".ts") && isAllowedPackage(to, layer.packages)) return null;
    return `${home} must not import ${to}`;
  }
  const target = layerOf(to);
  if (target === home) return null;
  if (target !== null && names(layer.uses).includes(target)) return null;
  if (target !== null && typeOnly && names(layer.types).includes(target)) return null;
  return `${home} must not import ${typeOnly ? "types " : ""}from ${target ?? to}: ${to}`;
}

function isAllowedPackage(name: string, allowed: string | undefined): boolean {
  return names(allowed).some((one) =>
    one === NODE ? name.startsWith("node:") : name === one || name.startsWith(`${one}/`),
  );
}

export function layerOf(path: string): string | null {
  const inside = path.slice("src/".length).replace(/\.ts$/, "");
  const found = Object.keys(SRC_LAYERS).filter((name) => inside === name || inside.startsWith(`${name}/`));
  return found.sort((a, b) => b.length - a.length)[0] ?? null;
}

function names(text = ""): string[] {
  return text.split(" ").filter((name) => name !== "");
}
