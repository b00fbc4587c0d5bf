import { type ChildProcess, spawn } from "node:child_process";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import type { StackInfo } from "../../sim/stack/stack.ts";
import { eventually } from "./stack.ts";

const ROOT = fileURLToPath(new URL("../..", import.meta.url));

/** `npm start` as a process of its own, in a group of its own as a terminal makes one. */
export interface Program {
  readonly process: ChildProcess;
  readonly pid: number;
  output(): string;
  errors(): string;
  readonly exited: Promise<number | NodeJS.Signals>;
}

export function run(script: string, args: readonly string[], env: Readonly<Record<string, string>>): Program {
  const child = spawn(process.execPath, [join(ROOT, script), ...args], {
    cwd: ROOT,
    env: { ...process.env, ...env },
    stdio: ["ignore", "pipe", "pipe"],
    detached: true,
  });
  let [output, errors] = ["", ""];
  child.stdout.on("data", (chunk: Buffer) => {
    output += chunk.toString();
  });
  child.stderr.on("data", (chunk: Buffer) => {
    errors += chunk.toString();
  });
  return {
    process: child,
    pid: child.pid!,
    output: () => output,
    errors: () => errors,
    exited: new Promise((resolve) => child.once("exit", (code, signal) => resolve(code ?? signal!))),
  };
}

/** The stack that a start script brought up, once it said so. */
export async function started(program: Program, stateDir: string): Promise<StackInfo> {
  const isReady = async () => /^ready in /m.test(program.output()) || program.process.exitCode !== null;
  await eventually(isReady, Boolean, 40_000);
  const file = join(stateDir, "dev.json");
  if (!existsSync(file)) throw new Error(`not started: ${program.output()}${program.errors()}`);
  return JSON.parse(readFileSync(file, "utf8")) as StackInfo;
}

/** Every living process that has this text in its environment or its arguments, which its children inherit. */
export function processesWith(text: string): number[] {
  return readdirSync("/proc")
    .filter((name) => /^\d+$/.test(name) && Number(name) !== process.pid)
    .filter((pid) =>
      [`/proc/${pid}/environ`, `/proc/${pid}/cmdline`].some((file) => read(file).includes(text)),
    )
    .map(Number);
}

function read(file: string): string {
  try {
    return readFileSync(file, "latin1");
  } catch {
    // Gone meanwhile, or somebody else's.
    return "";
  }
}
