import { existsSync, globSync, mkdirSync } from "node:fs";
import { homedir } from "node:os";
import { basename, dirname, join } from "node:path";
import type { CheckContext } from "../check.ts";
import { Missing, type Outcome, ran } from "../edge/toolchain.ts";

/** Where Terraform itself looks for providers, and where machine images put them. */
const PLACES = [join(homedir(), ".terraform.d/plugins"), "/usr/local/share/terraform/plugins", "/opt/*"];

/**
 * The folder that holds providers for `terraform init -plugin-dir`: MERIDIAN_TF_PLUGINS, or the first known place
 * with hashicorp/aws. Throws `Missing` when there is none: the provider is not fetched, it has 700 MB.
 */
export function pluginFolder(env: NodeJS.ProcessEnv = process.env): string {
  const places = env.MERIDIAN_TF_PLUGINS === undefined ? PLACES : [env.MERIDIAN_TF_PLUGINS];
  for (const place of places) {
    // <folder>/<host>/hashicorp/aws/<version>
    const found = globSync(join(place, "*", "hashicorp", "aws", "*"))[0];
    if (found !== undefined) return dirname(dirname(dirname(dirname(found))));
  }
  throw new Missing(
    "no AWS provider: put it into ~/.terraform.d/plugins with `terraform providers mirror`, or name a folder in MERIDIAN_TF_PLUGINS",
  );
}

const ready = new Map<string, Promise<NodeJS.ProcessEnv>>();

/** Runs terraform in a folder of the tree, initialised before, with all its own files outside of the tree. */
export async function terraform(
  context: CheckContext,
  folder: string,
  args: readonly string[],
): Promise<Outcome> {
  const chdir = join(context.root, folder);
  const env = await initialised(context, folder);
  return ran("terraform", [`-chdir=${chdir}`, ...args], { env, deadlineMs: 5 * 60_000 });
}

function initialised(context: CheckContext, folder: string): Promise<NodeJS.ProcessEnv> {
  const key = join(context.root, folder);
  const known = ready.get(key) ?? init(context, folder);
  ready.set(key, known);
  return known;
}

async function init(context: CheckContext, folder: string): Promise<NodeJS.ProcessEnv> {
  const chdir = join(context.root, folder);
  // A scratch copy gets a folder of its own beside it, so that it never meets the checkout's module list.
  const data = join(
    context.root === dirname(dirname(context.cache))
      ? join(context.cache, "tf")
      : join(context.root, ".terraform"),
    basename(dirname(chdir)),
    basename(chdir),
  );
  mkdirSync(data, { recursive: true });
  const env = { ...baseEnv(), TF_DATA_DIR: data };
  const { status, output } = await ran(
    "terraform",
    [
      `-chdir=${chdir}`,
      "init",
      "-backend=false",
      "-input=false",
      "-no-color",
      `-plugin-dir=${pluginFolder()}`,
    ],
    { env },
  );
  if (status !== 0) throw new Error(`terraform init in ${folder}: ${lastLines(output)}`);
  return env;
}

/** Terraform without the user's own settings, without a phone home. */
export function baseEnv(): NodeJS.ProcessEnv {
  return { ...process.env, TF_CLI_CONFIG_FILE: "/dev/null", CHECKPOINT_DISABLE: "1", TF_IN_AUTOMATION: "1" };
}

/** What Terraform said, without its frames. */
export function lastLines(output: string): string {
  return output
    .split("\n")
    .map((line) => line.replace(/^[╷│╵\s]+/, "").trim())
    .filter((line) => line !== "")
    .slice(-12)
    .join(" / ");
}

export interface Diagnostic {
  readonly severity: string;
  readonly summary: string;
  readonly detail: string;
  readonly range?: { readonly filename: string; readonly start: { readonly line: number } };
}

/** Errors of a command that was run with -json, one line each. */
export function errorsOf(diagnostics: readonly Diagnostic[]): string[] {
  return diagnostics
    .filter(({ severity }) => severity === "error")
    .map(({ summary, detail, range }) => {
      const where = range === undefined ? "" : `${range.filename}:${range.start.line}: `;
      return `${where}${summary}: ${detail.replace(/\s+/g, " ").slice(0, 300)}`;
    });
}

/** The folders of examples. */
export function examplesOf(root: string): string[] {
  return globSync("infra/examples/*/main.tf", { cwd: root })
    .map((file) => dirname(file))
    .sort();
}

export const exists = (context: CheckContext, path: string) => existsSync(join(context.root, path));
