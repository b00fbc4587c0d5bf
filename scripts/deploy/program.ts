import { spawn } from "node:child_process";
import { DeployError, type Outcome } from "./wrangler.ts";

type Env = Readonly<Record<string, string | undefined>>;

/** None of the business of any program that is started here. */
const HIDDEN = { MERIDIAN_ADMIN_KEY: undefined, CLOUDFLARE_API_TOKEN: undefined };
const DEADLINE_MS = 2 * 60_000;

/** Runs a program. Throws when it cannot be run or does not end in time; a bad status is for the caller to judge. */
export type Program = (args: readonly string[], input?: string) => Promise<Outcome>;

/** The first program of that name in PATH. */
export function programIn(env: Env, name: string, hint: string): Program {
  return (args, input) => {
    // Node gives a child a socket as its standard input, and /dev/stdin of a socket cannot be opened on Linux; the
    // pipe of a shell can. So `aws … file:///dev/stdin` needs the shell, which sees no argument as code.
    const viaPipe = input !== undefined;
    const [command, words] = viaPipe ? ["sh", ["-c", 'cat | "$0" "$@"', name, ...args]] : [name, args];
    return ended(command, words, { ...env, ...HIDDEN }, input, `${name} ${args[0] ?? ""}`, hint);
  };
}

function ended(
  command: string,
  args: readonly string[],
  env: Env,
  input: string | undefined,
  what: string,
  hint: string,
): Promise<Outcome> {
  return new Promise((resolve, reject) => {
    const child = spawn(command, args, {
      env,
      stdio: [input === undefined ? "ignore" : "pipe", "pipe", "pipe"],
    });
    const timer = setTimeout(() => child.kill("SIGKILL"), DEADLINE_MS);
    const output = { stdout: "", stderr: "" };
    child.stdout?.on("data", (chunk: Buffer) => {
      output.stdout += chunk.toString();
    });
    child.stderr?.on("data", (chunk: Buffer) => {
      output.stderr += chunk.toString();
    });
    // One that ends before it read its input closes the pipe; its status says why.
    child.stdin?.on("error", () => {});
    child.stdin?.end(input);
    child.once("error", (error: NodeJS.ErrnoException) => {
      clearTimeout(timer);
      reject(error.code === "ENOENT" ? new DeployError(`${command} is not installed: ${hint}`) : error);
    });
    child.once("close", (status) => {
      clearTimeout(timer);
      if (status === null) reject(new DeployError(`${what}: not done in ${DEADLINE_MS / 1_000} s`));
      // What a shell says of a program that is not there.
      else if (status === 127) reject(new DeployError(`${what}: not installed: ${hint}`));
      else resolve({ status, ...output });
    });
  });
}
