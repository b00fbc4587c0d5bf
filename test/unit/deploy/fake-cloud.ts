import { appendFileSync, existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";

/**
 * Stands in for `aws` and `terraform`, by the name under which it is started. Parameters of AWS are one file; every call
 * is written down with its standard input and environment. As the real `aws` does it, it opens /dev/stdin.
 */

export interface CloudState {
  readonly loggedIn: boolean;
  /** "<region> <name>" → what was put there. */
  readonly parameters: Readonly<Record<string, { readonly Value: string; readonly KeyId?: string }>>;
  /** How many of the next writes fail. */
  readonly failingWrites: number;
  /** Folder → what `terraform output -json` says there. */
  readonly outputs: Readonly<Record<string, unknown>>;
}

export interface CloudCall {
  readonly program: string;
  readonly args: readonly string[];
  readonly stdin: string;
  readonly env: Readonly<Record<string, string | undefined>>;
}

const place = process.env.FAKE_CLOUD_FOLDER;
if (place !== undefined) answer(place, process.argv.slice(2));

function answer(folder: string, [program = "", ...args]: readonly string[]): void {
  const file = join(folder, "cloud.json");
  const state = JSON.parse(readFileSync(file, "utf8")) as CloudState;
  const stdin = args.includes("file:///dev/stdin") ? readFileSync("/dev/stdin", "utf8") : "";
  const call: CloudCall = { program, args, stdin, env: process.env };
  appendFileSync(join(folder, "cloud.ndjson"), `${JSON.stringify(call)}\n`);
  if (call.program === "terraform") terraform(state, args);
  else if (!state.loggedIn)
    fail("Unable to locate credentials. You can configure them by running 'aws login'.");
  else aws(state, file, args, stdin);
}

function aws(state: CloudState, file: string, args: readonly string[], stdin: string): void {
  const name = args.slice(0, 2).join(" ");
  if (name === "sts get-caller-identity") say("arn:aws:iam::123456789012:user/ops\n");
  else if (name === "ssm get-parameter") {
    const found = state.parameters[`${option(args, "--region")} ${option(args, "--name")}`];
    if (found === undefined)
      fail("An error occurred (ParameterNotFound) when calling the GetParameter operation:");
    say(`${found.Value}\n`);
  } else if (name === "ssm put-parameter") put(state, file, args, stdin);
  else fail(`unknown command ${name}`);
}

function put(state: CloudState, file: string, args: readonly string[], value: string): void {
  if (state.failingWrites > 0) {
    writeFileSync(file, JSON.stringify({ ...state, failingWrites: state.failingWrites - 1 }));
    fail(`An error occurred (ThrottlingException): Rate exceeded for ${value}`);
  }
  if (option(args, "--type") !== "SecureString" || !args.includes("--overwrite"))
    fail("that would not be a secret");
  const keyId = args.includes("--key-id") ? { KeyId: option(args, "--key-id") } : {};
  const at = `${option(args, "--region")} ${option(args, "--name")}`;
  const parameters = { ...state.parameters, [at]: { Value: value, ...keyId } };
  writeFileSync(file, JSON.stringify({ ...state, parameters }));
  say('{"Version": 1}\n');
}

function terraform({ outputs }: CloudState, args: readonly string[]): void {
  const root = (args.find((arg) => arg.startsWith("-chdir=")) ?? "").slice("-chdir=".length);
  const found = outputs[root];
  if (args.slice(1).join(" ") !== "output -json") fail(`unknown command ${args.join(" ")}`);
  if (found === undefined) fail('Error: Backend initialization required, please run "terraform init"');
  say(JSON.stringify(found));
}

function option(args: readonly string[], name: string): string {
  return args[args.indexOf(name) + 1] ?? "";
}

function say(text: string): void {
  process.stdout.write(text);
}

function fail(message: string): never {
  process.stderr.write(`${message}\n`);
  process.exit(254);
}

/** Calls that were written down, in order. */
export function cloudCalls(folder: string): CloudCall[] {
  const log = join(folder, "cloud.ndjson");
  const lines = existsSync(log) ? readFileSync(log, "utf8").trim().split("\n") : [];
  return lines.map((line) => JSON.parse(line) as CloudCall);
}
