import { spawn } from "node:child_process";
import { type Outcome, outcomeOf } from "./child.ts";
import { DeployError } from "./wrangler.ts";

type Env = Readonly<Record<string, string | undefined>>;

/** None of the business of any program that is started here. */
const HIDDEN = { MERIDIAN_ADMIN_KEY: undefined, CLOUDFLARE_API_TOKEN: undefined };
const DEADLINE_MS = 2 * 60_000;

/** Runs a program. Throws when it cannot be run or does not end in time; a bad status is for the caller to judge. */
export type Program = (args: readonly string[], input?: string) => Promise<Outcome>;

/** The first program of that name in PATH. */
export function programIn(env: Env, name: string, hint: string): Program {
  return async (args, input) => {
    // Node gives a child a socket as its standard input, and /dev/stdin of a socket cannot be opened on Linux; the
    // pipe of a shell can. So `aws … file:///dev/stdin` needs the shell, which sees no argument as code.
    const viaPipe = input !== undefined;
    const [command, words] = viaPipe ? ["sh", ["-c", 'cat | "$0" "$@"', name, ...args]] : [name, args];
    const child = spawn(command, words, {
      env: { ...env, ...HIDDEN },
      stdio: [viaPipe ? "pipe" : "ignore", "pipe", "pipe"],
    });
    const outcome = await outcomeOf(child, DEADLINE_MS, input);
    if (outcome === "missing") throw new DeployError(`${command} is not installed: ${hint}`);
    if (outcome === "killed")
      throw new DeployError(`${name} ${args[0] ?? ""}: not done in ${DEADLINE_MS / 1_000} s`);
    // What a shell says of a program that is not there.
    if (outcome.status === 127) throw new DeployError(`${name} is not installed: ${hint}`);
    return outcome;
  };
}
