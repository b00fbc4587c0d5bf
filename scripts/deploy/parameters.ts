import { type Program, programIn } from "./program.ts";
import { DeployError, said } from "./wrangler.ts";

/** A parameter of AWS Systems Manager, by where it is. */
export interface Place {
  readonly awsRegion: string;
  readonly name: string;
  /** Null: the account's own key for parameters. */
  readonly kmsKeyId: string | null;
}

/**
 * Secrets of a region, by AWS's own command: it knows every way in which an operator may be logged in. A value goes
 * through its standard input and comes back on its standard output; it is in no argument, file or message.
 */
export interface Parameters {
  /** Who is logged in. Throws with what to do when nobody is. */
  whoami(): Promise<string>;
  /** Null: there is no such parameter. */
  read(place: Place): Promise<string | null>;
  write(place: Place, value: string): Promise<void>;
}

const ATTEMPTS = 3;

export function parametersIn(env: Readonly<Record<string, string | undefined>>): Parameters {
  const aws = programIn(env, "aws", "install the AWS CLI, version 2, and log in");
  return {
    async whoami() {
      const outcome = await aws(["sts", "get-caller-identity", "--query", "Arn", "--output", "text"]);
      if (outcome.status !== 0) throw new DeployError(`aws: nobody is logged in${said(outcome)}`);
      return outcome.stdout.trim();
    },
    async read({ awsRegion, name }) {
      const which = ["--region", awsRegion, "--name", name, "--with-decryption"];
      const outcome = await aws([...GET, ...which, "--query", "Parameter.Value", "--output", "text"]);
      if (outcome.status === 0) return outcome.stdout.replace(/\n$/, "");
      if (outcome.stderr.includes("ParameterNotFound")) return null;
      throw new DeployError(`${awsRegion} ${name}: aws ended with status ${outcome.status}${said(outcome)}`);
    },
    write: (place, value) => write(aws, place, value),
  };
}

const GET = ["ssm", "get-parameter"] as const;

/** Several attempts: a secret that is shown once must not be lost to one bad moment. */
async function write(aws: Program, place: Place, value: string): Promise<void> {
  const { awsRegion, name, kmsKeyId } = place;
  const key = kmsKeyId === null ? [] : ["--key-id", kmsKeyId];
  const which = ["--region", awsRegion, "--name", name, "--type", "SecureString", "--overwrite", ...key];
  // Not --cli-input-json: the command reads that one twice, and finds its input empty the second time.
  const args = ["ssm", "put-parameter", ...which, "--value", "file:///dev/stdin"];
  for (let attempt = 1; ; attempt++) {
    const outcome = await aws(args, value);
    if (outcome.status === 0) return;
    if (attempt < ATTEMPTS) continue;
    // A command that dislikes its input may quote it.
    const why = said(outcome).replaceAll(value, "…").replaceAll(JSON.stringify(value).slice(1, -1), "…");
    throw new DeployError(`${awsRegion} ${name}: aws ended with status ${outcome.status}${why}`);
  }
}
