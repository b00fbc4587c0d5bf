import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { Agent } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { buildWorker } from "../../scripts/build.ts";
import { simulatedPlan } from "../../sim/stack/plan.ts";
import { freePorts } from "../../sim/stack/ports.ts";
import { type Stack, startStack } from "../../sim/stack/stack.ts";
import { chatOnce } from "../support/chat.ts";
import { cpuMs, median } from "../support/cpu.ts";

/**
 * Processor time of the edge per request with all limits on, against the same Worker whose budget answers at once and
 * keeps no books. Every variant runs in its own stack; rounds take turns, so that each pair of figures is of one moment.
 */

/** All limits are on, and none is reached. */
const LIMITS = {
  tokensPerMinute: 1e9,
  tokensPerDay: 1e11,
  requestsPerMinute: 1e7,
  concurrentRequests: 100_000,
};
const CONNECTIONS = 64;
const WARM_UP = 400;
const AGENT = new Agent({ keepAlive: true, maxSockets: 256 });

const FREE_ANSWER = `{ ok: true, reservedTokens: 0, outputCapTokens: null, finishEagerly: false, mode: "home",
  standing: { tokens: null, requests: null, day: null }, at: address.at, leaseHere: false,
  profile: { tenantId: "free", version: 0, homeHint: address.homeHint, regions: null } }`;
const NO_BLOCKS = "blocks: async () => ({ ok: false, failure: null })";
/** What stands in for a stub of the budget: its text replaces the one that makes it. */
const VARIANTS = {
  blocks: (real: string) => real,
  strict: (real: string) => `const stub = (() => { ${real} })();
    return { ${NO_BLOCKS}, reserve: (ask) => stub.reserve(ask), report: (reports) => stub.report(reports),
      configure: (record) => stub.configure(record), cancel: (...end) => stub.cancel(...end),
      finish: (...end) => stub.finish(...end), check: (...key) => stub.check(...key) } as never;`,
  none: (real: string) => `const stub = (() => { ${real} })();
    return { ${NO_BLOCKS}, reserve: async () => (${FREE_ANSWER}), report: async () => ({ stop: [] }),
      configure: (record) => stub.configure(record), cancel: async () => {}, finish: async () => {},
      check: (...key) => stub.check(...key) } as never;`,
} as const;
type Variant = keyof typeof VARIANTS;
const NAMES = Object.keys(VARIANTS) as Variant[];

/** The bundle, with another body for the one function that makes stubs of budgets. */
function build(variant: Variant): (outDir: string) => Promise<string> {
  const HEAD = "export function tenantBudget(env: Env, address: BudgetAddress): TenantBudgetStub {\n";
  const plugin = {
    name: "budget-variant",
    setup(build: import("esbuild").PluginBuild) {
      build.onLoad({ filter: /src\/durable\/stub\.ts$/ }, ({ path }) => {
        const text = readFileSync(path, "utf8");
        const from = text.indexOf(HEAD) + HEAD.length;
        const to = text.indexOf("\n}\n", from);
        if (from < HEAD.length || to < 0) throw new Error("bench: tenantBudget is not where it was");
        const body = VARIANTS[variant](text.slice(from, to));
        return { contents: text.slice(0, from) + body + text.slice(to), loader: "ts" };
      });
    },
  };
  return (outDir) => buildWorker(outDir, { plugins: [plugin] });
}

/** Microseconds of the runtime's processor time per request, with everything that its reports cost. */
async function measure(
  { edge, edgePort, info }: Stack,
  requests: number,
  modes: Map<string, number>,
): Promise<number> {
  const url = `http://127.0.0.1:${edgePort}`;
  const play = async (count: number, seen: Map<string, number>) => {
    let left = count;
    const client = async () => {
      while (left-- > 0) {
        const headers = await chatOnce(AGENT, url, info.tenant.key, { tokens: 1, stream: false });
        const mode = String(headers["x-meridian-budget-mode"]);
        seen.set(mode, (seen.get(mode) ?? 0) + 1);
      }
    };
    await Promise.all(Array.from({ length: CONNECTIONS }, client));
  };
  // Since its last turn the tenant has gone cold.
  await play(WARM_UP, new Map());
  const before = cpuMs(edge.pid!);
  await play(requests, modes);
  // The last reports are on their way.
  await new Promise((resolve) => setTimeout(resolve, 300));
  return ((cpuMs(edge.pid!) - before) * 1_000) / requests;
}

export interface EdgeCost {
  readonly rounds: number;
  readonly requestsPerRound: number;
  /** Median microseconds per request. */
  readonly us: Record<Variant, number>;
  /** Median over rounds of what a variant costs above none in the same round, in microseconds. */
  readonly overNoneUs: { readonly blocks: number; readonly strict: number };
  /** The same as a part of what none costs in that round: machines and moments differ in speed. */
  readonly overNoneShare: { readonly blocks: number; readonly strict: number };
  /** Of the requests in the variant with blocks: admitted out of one. */
  readonly drawnShare: number;
}

export async function edgeCost(rounds: number, requestsPerRound: number): Promise<EdgeCost> {
  const dir = mkdtempSync(join(tmpdir(), "meridian-budget-"));
  const stacks = new Map<Variant, Stack>();
  try {
    const plan = simulatedPlan(2);
    const regions = plan.regions.slice(0, 1);
    const simArgs = ["--speed", "50"];
    for (const [index, variant] of NAMES.entries()) {
      const [port] = (await freePorts(1, 24_000 + index * 1_000)) as [number];
      const options = { plan: { ...plan, regions }, port, simArgs, tenantLimits: LIMITS };
      stacks.set(
        variant,
        await startStack({ ...options, stateDir: join(dir, variant), build: build(variant) }),
      );
    }
    const us: Record<Variant, number[]> = { blocks: [], strict: [], none: [] };
    const modes = new Map<string, number>();
    for (let round = 0; round <= rounds; round++) {
      for (const variant of NAMES) {
        process.stderr.write(`\r  ${variant}: round ${round} of ${rounds}   `);
        const counted = variant === "blocks" && round > 0 ? modes : new Map<string, number>();
        const one = await measure(stacks.get(variant)!, requestsPerRound, counted);
        // The first round warms up.
        if (round > 0) us[variant].push(one);
      }
    }
    process.stderr.write("\n");
    const over = (variant: "blocks" | "strict") =>
      median(us[variant].map((one, round) => one - us.none[round]!));
    const share = (variant: "blocks" | "strict") =>
      median(us[variant].map((one, round) => one / us.none[round]! - 1));
    const all = [...modes.values()].reduce((sum, count) => sum + count, 0);
    return {
      rounds,
      requestsPerRound,
      us: { blocks: median(us.blocks), strict: median(us.strict), none: median(us.none) },
      overNoneUs: { blocks: over("blocks"), strict: over("strict") },
      overNoneShare: { blocks: share("blocks"), strict: share("strict") },
      drawnShare: (modes.get("block") ?? 0) / all,
    };
  } finally {
    for (const stack of stacks.values()) await stack.stop();
    AGENT.destroy();
    rmSync(dir, { recursive: true, force: true });
  }
}
