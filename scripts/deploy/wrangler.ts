import { spawn } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type Outcome, outcomeOf } from "./child.ts";
import { ROOT } from "./settings.ts";

/** A mistake or an outside failure that the operator can do something about: one clear line, no stack. */
export class DeployError extends Error {}

interface Call {
  /** Goes to wrangler's standard input, the only way for a secret: arguments are seen by every process. */
  readonly input?: string;
  /** Lets the operator see and answer wrangler; else its output is only kept. */
  readonly shown?: boolean;
  readonly env?: Readonly<Record<string, string>>;
  readonly deadlineMs?: number;
}

const ENVIRONMENT = {
  // Else wrangler's debug log on disk would hold request bodies, and those hold secrets.
  WRANGLER_LOG_SANITIZE: "true",
  WRANGLER_SEND_METRICS: "false",
  // None of its business.
  MERIDIAN_ADMIN_KEY: undefined,
};
const CALL_DEADLINE_MS = 2 * 60_000;

/** Runs wrangler. Throws when it cannot be run or does not end in time; a bad status is for the caller to judge. */
export type Wrangler = (args: readonly string[], call?: Call) => Promise<Outcome>;

/** The first `wrangler` in PATH: under npm, the one that package.json pins. `configFile`: instead of wrangler.toml. */
export function wranglerIn(
  env: Readonly<Record<string, string | undefined>>,
  configFile: string | null = null,
): Wrangler {
  const config = configFile === null ? [] : ["--config", configFile];
  return async (args, call = {}) => {
    const { input, shown = false, deadlineMs = CALL_DEADLINE_MS } = call;
    const seen = shown ? "inherit" : "pipe";
    const child = spawn("wrangler", [...args, ...config], {
      cwd: ROOT,
      env: { ...env, ...ENVIRONMENT, ...call.env },
      stdio: [input === undefined ? "inherit" : "pipe", seen, seen],
    });
    const outcome = await outcomeOf(child, deadlineMs, input);
    if (outcome === "missing") {
      throw new DeployError("wrangler is not installed: run 'npm ci', and start this with 'npm run deploy'");
    }
    if (outcome !== "killed") return outcome;
    throw new DeployError(`wrangler ${args[0]}: not done in ${deadlineMs / 1_000} s`);
  };
}

/** Fails with what wrangler said. Its messages name secrets and never quote them. */
export function mustSucceed(outcome: Outcome, what: string): Outcome {
  if (outcome.status === 0) return outcome;
  throw new DeployError(`${what}: wrangler ended with status ${outcome.status}${said(outcome)}`);
}

/** The lines of an error that say something, without colours and frames. */
export function said({ stdout, stderr }: Outcome): string {
  const plain = `${stderr}\n${stdout}`.replaceAll(COLOURS, "");
  const lines = plain.split("\n").map((line) => line.trim());
  const kept = lines.filter((line) => /\w/.test(line) && !line.includes("Logs were written to")).slice(0, 12);
  return kept.length === 0 ? "" : `:\n  ${kept.join("\n  ")}`;
}

// biome-ignore lint/suspicious/noControlCharactersInRegex: the escape character is what starts a colour.
const COLOURS = /\u001b\[[0-9;]*m/g;

/** Wrangler's login. Throws with what to do when there is none, or when it leaves open which account is meant. */
export async function requireLogin(
  wrangler: Wrangler,
  chosen: string | null,
): Promise<{ email: string; account: string }> {
  const outcome = await wrangler(["whoami", "--json"]);
  const answer = jsonIn(outcome.stdout, "{", "}") as Whoami | null;
  if (answer?.loggedIn === false) {
    throw new DeployError(
      "not logged in to Cloudflare: run 'npx wrangler login', or set CLOUDFLARE_API_TOKEN, and start again",
    );
  }
  if (outcome.status !== 0 || answer === null)
    mustSucceed({ ...outcome, status: outcome.status || 1 }, "whoami");
  const accounts = answer?.accounts ?? [];
  if (chosen === null && accounts.length > 1) {
    const list = accounts.map(({ name, id }) => `\n  ${id}  ${name}`).join("");
    throw new DeployError(`this login has several accounts: set CLOUDFLARE_ACCOUNT_ID to one of${list}`);
  }
  const account = accounts.find(({ id }) => id === chosen) ?? accounts[0];
  return {
    email: answer?.email ?? "an API token",
    account: account?.name ?? chosen ?? "the token's account",
  };
}

interface Whoami {
  readonly loggedIn: boolean;
  readonly email?: string;
  readonly accounts?: readonly { readonly id: string; readonly name: string }[];
}

/**
 * Names of the secrets that the Worker has; null when there is no such Worker yet. Anything else that goes wrong
 * throws: taking "cannot tell" for "none" would overwrite live secrets, and every key with them.
 */
export async function listSecrets(wrangler: Wrangler): Promise<string[] | null> {
  const outcome = await wrangler(["secret", "list", "--format", "json"]);
  if (outcome.status !== 0 && /Worker ".*".* not found/.test(outcome.stdout + outcome.stderr)) return null;
  mustSucceed(outcome, "secret list");
  const list = jsonIn(outcome.stdout, "[", "]") as readonly { readonly name: string }[] | null;
  if (!Array.isArray(list))
    throw new DeployError(`secret list: no list in wrangler's answer${said(outcome)}`);
  return list.map(({ name }) => name);
}

/** Sets secrets in one request, all or none. Creates the Worker, empty, when there is none. */
export async function putSecrets(
  wrangler: Wrangler,
  secrets: Readonly<Record<string, string>>,
): Promise<void> {
  mustSucceed(await wrangler(["secret", "bulk"], { input: JSON.stringify(secrets) }), "secret bulk");
}

/** Builds, uploads and migrates. Returns where the Worker answers: wrangler's `targets`. */
export async function deployWorker(wrangler: Wrangler): Promise<string[]> {
  const folder = mkdtempSync(join(tmpdir(), "meridian-deploy-"));
  const report = join(folder, "output.ndjson");
  try {
    const env = { WRANGLER_OUTPUT_FILE_PATH: report };
    const outcome = await wrangler(["deploy"], { shown: true, env, deadlineMs: 5 * 60_000 });
    if (outcome.status !== 0) throw new DeployError("wrangler deploy failed: see its message above");
    const lines = readFileSync(report, "utf8").trim().split("\n");
    const events = lines.map((line) => JSON.parse(line) as { type: string; targets?: string[] });
    return events.find(({ type }) => type === "deploy")?.targets ?? [];
  } finally {
    rmSync(folder, { recursive: true });
  }
}

/** The JSON in an output that may have notices around it. */
function jsonIn(text: string, open: string, close: string): unknown {
  try {
    return JSON.parse(text.slice(text.indexOf(open), text.lastIndexOf(close) + 1));
  } catch {
    return null;
  }
}
