import { appendFileSync, existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";

/**
 * Stands in for wrangler and Cloudflare behind it: keeps the account's state in one file and writes down every call,
 * with its standard input and its environment, for the tests to look at.
 */

export interface Account {
  readonly loggedIn: boolean;
  readonly accounts: readonly { readonly id: string; readonly name: string }[];
  /** Null: no such Worker yet. */
  readonly secrets: Readonly<Record<string, string>> | null;
  /** What the bundle exports. */
  readonly exports: readonly string[];
  readonly targets: readonly string[];
  /** Commands that fail, as in "secret list", with what they say. */
  readonly failing: Readonly<Record<string, string>>;
}

export interface Call {
  readonly args: readonly string[];
  readonly stdin: string;
  readonly env: Readonly<Record<string, string | undefined>>;
}

const folder = process.env.FAKE_WRANGLER_FOLDER;
if (folder !== undefined) await answer(folder, process.argv.slice(3));

async function answer(place: string, args: readonly string[]): Promise<void> {
  const stateFile = join(place, "account.json");
  const account = JSON.parse(readFileSync(stateFile, "utf8")) as Account;
  const command = args.filter((arg) => !arg.startsWith("-")).slice(0, 2);
  const name = command[0] === "secret" ? command.join(" ") : command[0]!;
  const stdin = name === "secret bulk" ? await readStdin() : "";
  const call: Call = { args, stdin, env: process.env };
  appendFileSync(join(place, "calls.ndjson"), `${JSON.stringify(call)}\n`);
  const failing = account.failing[name];
  if (failing !== undefined) fail(failing);
  if (name === "whoami") whoami(account);
  else if (name === "secret list") listSecrets(account);
  else if (name === "secret bulk") {
    const secrets = { ...account.secrets, ...JSON.parse(stdin) };
    writeFileSync(stateFile, JSON.stringify({ ...account, secrets }));
  } else if (name === "deploy" && args.includes("--dry-run")) writeBundle(args, account);
  else if (name === "deploy") deploy(account);
  else fail(`unknown command ${name}`);
}

function whoami(account: Account): void {
  const { loggedIn, accounts } = account;
  print(loggedIn ? { loggedIn, email: "ops@example.net", accounts } : { loggedIn });
  if (!loggedIn) process.exit(1);
}

function listSecrets({ secrets }: Account): void {
  if (secrets === null) fail('✘ [ERROR] Worker "meridian" not found.');
  else print(Object.keys(secrets).map((name) => ({ name, type: "secret_text" })));
}

function writeBundle(args: readonly string[], { exports }: Account): void {
  const folderOfBundle = args[args.indexOf("--outdir") + 1]!;
  writeFileSync(join(folderOfBundle, "worker.js"), "export default {};");
  const outputs = { "out/worker.js": { entryPoint: "src/worker.ts", exports } };
  writeFileSync(join(folderOfBundle, "bundle-meta.json"), JSON.stringify({ outputs }));
}

/** As the real one does: a Worker without its required secrets is not deployed. */
function deploy({ secrets, targets }: Account): void {
  if (!secrets?.TICKET_SECRET) fail("The following required secrets have not been set: TICKET_SECRET");
  const report = process.env.WRANGLER_OUTPUT_FILE_PATH!;
  if (existsSync(report)) fail("a report that is there already");
  const events = [{ type: "wrangler-session" }, { type: "deploy", targets }];
  writeFileSync(report, `${events.map((event) => JSON.stringify(event)).join("\n")}\n`);
}

function print(value: unknown): void {
  process.stdout.write(`${JSON.stringify(value, null, 2)}\n`);
}

function fail(message: string): never {
  process.stderr.write(`${message}\n`);
  process.exit(1);
}

async function readStdin(): Promise<string> {
  let text = "";
  for await (const chunk of process.stdin) text += String(chunk);
  return text;
}
