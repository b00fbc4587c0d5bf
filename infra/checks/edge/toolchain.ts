import { spawn } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, readdirSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";
import { schemaFromBindings } from "./schema.ts";

/**
 * What the checks fetch by the ordinary clients, once per cache: the provider's published bindings, and three packages
 * for the stub and the parser. Versions are pinned; nothing of it is part of the repository.
 */
const BINDINGS = { name: "cdktn-provider-cloudflare", version: "16.4.0" };
const PACKAGES = { "@grpc/grpc-js": "1.14.7", "@grpc/proto-loader": "0.8.1", "@cdktf/hcl2json": "0.21.0" };
const FETCH_DEADLINE_MS = 5 * 60_000;

export interface Toolchain {
  /** The provider's schema as JSON. */
  readonly schemaFile: string;
  /** Holds node_modules with the packages. */
  readonly packages: string;
}

export interface Outcome {
  readonly status: number | null;
  readonly output: string;
}

/** Says why something cannot be had on this machine: the check is then skipped, not failed. */
export class Missing extends Error {}

/** Runs a program to its end and keeps what it says. Throws `Missing` when there is no such program. */
export function ran(
  command: string,
  args: readonly string[],
  options: { readonly cwd?: string; readonly env?: NodeJS.ProcessEnv; readonly deadlineMs?: number } = {},
): Promise<Outcome> {
  const { cwd, env = process.env, deadlineMs = 2 * 60_000 } = options;
  return new Promise((resolve, reject) => {
    const child = spawn(command, args, {
      ...(cwd === undefined ? {} : { cwd }),
      env,
      stdio: ["ignore", "pipe", "pipe"],
    });
    const timer = setTimeout(() => child.kill("SIGKILL"), deadlineMs);
    let output = "";
    const keep = (chunk: Buffer) => {
      output += chunk.toString();
    };
    child.stdout.on("data", keep);
    child.stderr.on("data", keep);
    child.once("error", (error: NodeJS.ErrnoException) => {
      clearTimeout(timer);
      reject(error.code === "ENOENT" ? new Missing(`${command} is not installed`) : error);
    });
    child.once("close", (status) => {
      clearTimeout(timer);
      resolve({ status, output });
    });
  });
}

const underWay = new Map<string, Promise<Toolchain>>();

/** Fetches and builds what is not in the cache yet: about 10 s, later nothing. Throws `Missing` without a network. */
export function toolchain(cache: string, say: (line: string) => void): Promise<Toolchain> {
  const known = underWay.get(cache);
  if (known !== undefined) return known;
  const made = build(join(cache, "edge"), say);
  underWay.set(cache, made);
  return made;
}

async function build(folder: string, say: (line: string) => void): Promise<Toolchain> {
  mkdirSync(folder, { recursive: true });
  const schemaFile = join(folder, `cloudflare-${BINDINGS.version}.json`);
  if (!existsSync(schemaFile)) {
    say(`fetching ${BINDINGS.name} ${BINDINGS.version}`);
    await writeSchema(folder, schemaFile);
  }
  const packages = join(folder, `packages-${Object.values(PACKAGES).join("-")}`);
  if (!existsSync(packages)) {
    say(`fetching ${Object.keys(PACKAGES).join(", ")}`);
    await installPackages(folder, packages);
  }
  return { schemaFile, packages };
}

async function writeSchema(folder: string, schemaFile: string): Promise<void> {
  const place = mkdtempSync(join(folder, "bindings-"));
  try {
    const pinned = `${BINDINGS.name}==${BINDINGS.version}`;
    await fetched("python3", ["-m", "pip", "download", "--quiet", "--no-deps", "--dest", place, pinned]);
    const wheel = readdirSync(place).find((name) => name.endsWith(".whl"));
    if (wheel === undefined) throw new Missing(`${pinned}: no wheel came`);
    await fetched("python3", ["-m", "zipfile", "-e", join(place, wheel), place]);
    const inner = join(place, "cdktn_provider_cloudflare/_jsii");
    const archive = readdirSync(inner).find((name) => name.endsWith(".tgz"));
    if (archive === undefined) throw new Error(`${pinned} has another form than it had`);
    await fetched("tar", ["-xzf", join(inner, archive), "-C", place, "package/lib"]);
    const schema = schemaFromBindings(join(place, "package/lib"));
    writeFileSync(`${place}.json`, JSON.stringify(schema));
    renameSync(`${place}.json`, schemaFile);
  } finally {
    rmSync(place, { recursive: true, force: true });
  }
}

async function installPackages(folder: string, target: string): Promise<void> {
  const place = mkdtempSync(join(folder, "packages-new-"));
  writeFileSync(join(place, "package.json"), JSON.stringify({ private: true, dependencies: PACKAGES }));
  try {
    await fetched(
      "npm",
      ["install", "--ignore-scripts", "--no-audit", "--no-fund", "--prefix", place],
      place,
    );
    if (!existsSync(target)) renameSync(place, target);
  } finally {
    rmSync(place, { recursive: true, force: true });
  }
}

async function fetched(command: string, args: readonly string[], cwd?: string): Promise<void> {
  const deadline = { deadlineMs: FETCH_DEADLINE_MS, ...(cwd === undefined ? {} : { cwd }) };
  const { status, output } = await ran(command, args, deadline);
  if (status === 0) return;
  throw new Missing(`${command} ${args[0]} ended with ${status}: ${output.trim().split("\n").at(-1) ?? ""}`);
}

/** Reads one Terraform file into JSON as Terraform's own parser sees it. */
export async function parseHcl(packages: string, name: string, text: string): Promise<HclFile> {
  const { parse } = createRequire(`${packages}/`)("@cdktf/hcl2json") as {
    parse(name: string, text: string): Promise<HclFile>;
  };
  return parse(name, text);
}

type Bodies = readonly Readonly<Record<string, unknown>>[];
/** Labelled blocks: type → name → bodies. Expressions that are no literals are strings as in "${var.x}". */
export interface HclFile {
  readonly resource?: Readonly<Record<string, Readonly<Record<string, Bodies>>>>;
  readonly data?: Readonly<Record<string, Readonly<Record<string, Bodies>>>>;
  readonly locals?: Bodies;
  readonly variable?: Readonly<Record<string, Bodies>>;
  readonly output?: Readonly<Record<string, Bodies>>;
}
