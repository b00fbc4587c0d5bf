import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import {
  type Check,
  type CheckContext,
  type CheckModule,
  fail,
  pass,
  type Result,
  skip,
  verdict,
} from "./check.ts";
import { EDGE_MUTANTS } from "./edge/mutants.ts";
import { unknownKeys } from "./edge/nested-keys.ts";
import {
  accessNamesWhoPasses,
  noTunnelTokenInState,
  type Rule,
  routesPass,
  secretOutputsAreMarked,
  storageIsKept,
  variablesAreDescribed,
} from "./edge/rules.ts";
import type { ProviderSchema } from "./edge/schema.ts";
import { withStub } from "./edge/stub.ts";
import { type HclFile, Missing, parseHcl, ran, type Toolchain, toolchain } from "./edge/toolchain.ts";
import { UPSTASH } from "./edge/upstash.ts";

/** Checks of infra/edge, against a stub that knows the providers' schemas and nothing else of them. */

const EDGE = "infra/edge";
const REDIS = "infra/edge/redis";
const WORKER = new URL("../../src/worker.ts", import.meta.url);

const STUB =
  "a schema stub stood in for the providers, and no Cloudflare or Upstash was asked: not shown are the providers' own " +
  "validators (enumerations, ttl), plan modifiers, version constraints, sensitivity, and anything the services would say";
const STUB_AND_MOCKS = `${STUB}; every computed value is a mock's`;
const TEXT = "what the text says, not what a service makes of it";

type Run = (context: CheckContext, tools: Toolchain) => Promise<Result>;

/** A machine without terraform, Python or a network has nothing to check with, and says so. */
function check(name: string, notProved: string, run: Run): Check {
  return {
    name,
    notProved,
    async run(context) {
      try {
        return await run(context, await toolchain(context.cache, context.say));
      } catch (error) {
        if (error instanceof Missing) return skip(error.message);
        throw error;
      }
    },
  };
}

/** Runs terraform commands in a root one after the other; the first that fails is the result. */
async function terraform(
  root: string,
  tools: Toolchain,
  commands: readonly (readonly string[])[],
): Promise<{ readonly failed: readonly string[] | null; readonly output: string }> {
  const data = mkdtempSync(join(tmpdir(), "meridian-edge-check-"));
  try {
    return await withStub(tools, async (stub) => {
      const env = { ...stub, TF_DATA_DIR: data };
      let output = "";
      for (const command of [["init", "-backend=false", "-input=false"], ...commands]) {
        const outcome = await ran("terraform", [`-chdir=${root}`, ...command, "-no-color"], { env });
        output = outcome.output;
        if (outcome.status !== 0) return { failed: output.trim().split("\n"), output };
      }
      return { failed: null, output };
    });
  } finally {
    rmSync(data, { recursive: true, force: true });
  }
}

const validate = (root: string): Check =>
  check(`${root}: validate`, STUB, async (context, tools) => {
    const { failed } = await terraform(join(context.root, root), tools, [["validate"]]);
    return failed === null ? pass("arguments, types and references are right") : fail(...failed);
  });

const test = (root: string, file: string): Check =>
  check(`${root}: ${file} tests`, STUB_AND_MOCKS, async (context, tools) => {
    const command = ["test", `-filter=tests/${file}.tftest.hcl`];
    const { failed, output } = await terraform(join(context.root, root), tools, [command]);
    if (failed !== null) return fail(...failed);
    const passed = Number(/(\d+) passed, 0 failed/.exec(output)?.[1] ?? 0);
    return passed > 0 ? pass(`${passed} runs`) : fail("no run was found in the file");
  });

async function filesOf(context: CheckContext, tools: Toolchain, root: string): Promise<HclFile[]> {
  const names = readdirSync(join(context.root, root)).filter((name) => name.endsWith(".tf"));
  return Promise.all(
    names.map((name) => parseHcl(tools.packages, name, readFileSync(join(context.root, root, name), "utf8"))),
  );
}

const nestedKeys = check("infra/edge: nested keys", STUB, async (context, tools) => {
  const cloudflare = JSON.parse(readFileSync(tools.schemaFile, "utf8")) as ProviderSchema;
  const found = await Promise.all(
    [EDGE, REDIS].map(async (root) =>
      unknownKeys(await filesOf(context, tools, root), [cloudflare, UPSTASH]),
    ),
  );
  return verdict(found.flat(), `every key is one of provider ${cloudflare.version}`);
});

const rule = (name: string, looks: Rule, detail: string): Check =>
  check(`infra/edge: ${name}`, TEXT, async (context, tools) => {
    const found = await Promise.all(
      [EDGE, REDIS].map(async (root) => looks(await filesOf(context, tools, root))),
    );
    return verdict(found.flat(), detail);
  });

const paths = check("infra/edge: paths", TEXT, async (context, tools) => {
  const found = routesPass(await filesOf(context, tools, EDGE), readFileSync(WORKER, "utf8"));
  return verdict(found, "every route of the Worker passes known_paths_only");
});

export const EDGE_CHECKS: CheckModule = {
  checks: [
    validate(EDGE),
    validate(REDIS),
    test(EDGE, "plan"),
    test(EDGE, "options"),
    test(EDGE, "validation"),
    test(REDIS, "plan"),
    nestedKeys,
    paths,
    rule("tunnel tokens", noTunnelTokenInState, "nothing that opens a tunnel is in the state"),
    rule("secret outputs", secretOutputsAreMarked, "outputs that hold a secret are marked"),
    rule("access", accessNamesWhoPasses, "nobody passes who is not named"),
    rule("storage", storageIsKept, "storage cannot be destroyed by a slip"),
    rule("variables", variablesAreDescribed, "all typed and described"),
  ],
  mutants: EDGE_MUTANTS,
};
