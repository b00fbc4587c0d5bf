import { spawn } from "node:child_process";
import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { delimiter, join } from "node:path";
import { fileURLToPath } from "node:url";
import { transformSync } from "esbuild";
import { deploy } from "../../../scripts/deploy.ts";
import { type FakeAdmin, fakeAdmin } from "./fake-admin.ts";
import type { Account, Call } from "./fake-wrangler.ts";

const DEPLOY = fileURLToPath(new URL("../../../scripts/deploy.ts", import.meta.url));
const WRANGLER = plain(new URL("./fake-wrangler.ts", import.meta.url));

export const OBJECTS = ["Directory", "RegionPool", "Registry", "TenantBudget", "default"];

export interface Ran {
  readonly status: number | null;
  readonly stdout: string;
  readonly stderr: string;
  /** What wrangler was called with, in order. */
  readonly calls: readonly Call[];
}

/** An account at Cloudflare with a Worker that answers once it is deployed, and a machine to deploy from. */
export class Rig {
  readonly folder = mkdtempSync(join(tmpdir(), "meridian-deploy-test-"));
  readonly admin: FakeAdmin;

  private constructor(admin: FakeAdmin) {
    this.admin = admin;
  }

  static async start(account: Partial<Account> = {}): Promise<Rig> {
    let rig: Rig | null = null;
    const admin = await fakeAdmin(() => rig?.account.secrets?.ADMIN_KEY_HASHES ?? "");
    rig = new Rig(admin);
    rig.set({
      loggedIn: true,
      accounts: [{ id: "1", name: "Example" }],
      secrets: null,
      exports: OBJECTS,
      targets: [admin.url],
      failing: {},
      ...account,
    });
    mkdirSync(join(rig.folder, "bin"));
    mkdirSync(join(rig.folder, "home"));
    rig.install("wrangler", WRANGLER);
    return rig;
  }

  /** Puts a program into PATH that gets its own name as the first argument. */
  install(name: string, script: string): void {
    const command = join(this.folder, "bin", name);
    writeFileSync(`${command}.mjs`, script);
    writeFileSync(command, `#!/bin/sh\nexec "${process.execPath}" "${command}.mjs" ${name} "$@"\n`);
    chmodSync(command, 0o755);
  }

  get account(): Account {
    return JSON.parse(readFileSync(join(this.folder, "account.json"), "utf8")) as Account;
  }

  set(change: Partial<Account>): void {
    const file = join(this.folder, "account.json");
    const before = existsSync(file) ? this.account : {};
    writeFileSync(file, JSON.stringify({ ...before, ...change }));
  }

  /** Writes a deploy file and returns its path. */
  config(content: unknown): string {
    const file = join(this.folder, "deploy.json");
    writeFileSync(file, JSON.stringify(content));
    return file;
  }

  /** Runs `npm run deploy` in this process, which is fast; wrangler is a process all the same. */
  async deploy(args: readonly string[] = [], env: Readonly<Record<string, string>> = {}): Promise<Ran> {
    this.#forget();
    const told: string[] = [];
    const error = await deploy(args, { ...this.#env, ...env }, (line) => told.push(line)).then(
      () => null,
      (reason: Error) => reason,
    );
    return {
      status: error === null ? 0 : 1,
      stdout: told.map((line) => `${line}\n`).join(""),
      stderr: error === null ? "" : `deploy: ${error.message}\n`,
      calls: this.#calls(),
    };
  }

  /** The same as an operator starts it, as a process of its own. */
  async deployAlone(args: readonly string[] = [], env: Readonly<Record<string, string>> = {}): Promise<Ran> {
    this.#forget();
    const child = spawn(process.execPath, [DEPLOY, ...args], {
      env: { ...this.#env, ...env },
      stdio: ["ignore", "pipe", "pipe"],
    });
    const output = { stdout: "", stderr: "" };
    child.stdout.on("data", (chunk) => {
      output.stdout += chunk;
    });
    child.stderr.on("data", (chunk) => {
      output.stderr += chunk;
    });
    const status = await new Promise<number | null>((resolve) => child.once("close", resolve));
    return { status, ...output, calls: this.#calls() };
  }

  get #env() {
    return {
      PATH: `${join(this.folder, "bin")}${delimiter}${process.env.PATH}`,
      HOME: join(this.folder, "home"),
      TMPDIR: this.folder,
      FAKE_WRANGLER_FOLDER: this.folder,
    };
  }

  #forget(): void {
    rmSync(join(this.folder, "calls.ndjson"), { force: true });
  }

  #calls(): Call[] {
    const log = join(this.folder, "calls.ndjson");
    const lines = existsSync(log) ? readFileSync(log, "utf8").trim().split("\n") : [];
    return lines.map((line) => JSON.parse(line) as Call);
  }

  /** Everything that a run left on the machine: file by file, but for what stands in for Cloudflare. */
  leftovers(): string {
    return readdirSync(this.folder, { recursive: true, withFileTypes: true })
      .filter(
        (entry) =>
          entry.isFile() &&
          !["account.json", "calls.ndjson", "deploy.json", "cloud.json", "cloud.ndjson"].includes(entry.name),
      )
      .map((entry) => readFileSync(join(entry.parentPath, entry.name), "utf8"))
      .join("\n");
  }

  close(): void {
    this.admin.close();
    rmSync(this.folder, { recursive: true });
  }
}

/** The JavaScript of a fake: Node takes as long to strip types as to start, and a deployment starts a dozen programs. */
export function plain(source: URL): string {
  return transformSync(readFileSync(source, "utf8"), { loader: "ts" }).code;
}

/** The commands of a run, without their options. */
export function commands({ calls }: Ran): string[] {
  return calls.map(({ args }) => {
    const words = args.filter((arg, at) => !arg.startsWith("-") && !(args[at - 1] ?? "").startsWith("--"));
    return `${words.join(" ")}${args.includes("--dry-run") ? " --dry-run" : ""}`;
  });
}

/** The secrets that a run sent on wrangler's standard input. */
export function sentSecrets({ calls }: Ran): Record<string, string> {
  return Object.assign({}, ...calls.map(({ stdin }) => (stdin === "" ? {} : JSON.parse(stdin))));
}

interface WorkerSecrets {
  readonly macKeys: ReadonlyMap<string, CryptoKey>;
  readonly newestMacVersion: string;
  isAdmin(bearer: string): Promise<boolean>;
}

/** What the Worker itself makes of its secrets. Loaded by address, since its types are the edge's and not Node's. */
export async function workerSecrets(
  secrets: Readonly<Record<string, string>> | null,
): Promise<WorkerSecrets> {
  const address = new URL("../../../src/secrets.ts", import.meta.url).href;
  const { secretsOf } = (await import(/* @vite-ignore */ address)) as {
    secretsOf(env: unknown): Promise<WorkerSecrets>;
  };
  return secretsOf({ ...secrets });
}
