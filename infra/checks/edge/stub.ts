import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { fileURLToPath } from "node:url";
import type { Toolchain } from "./toolchain.ts";

const SERVER = fileURLToPath(new URL("server.ts", import.meta.url));
const READY_WITHIN_MS = 30_000;

/** Serves the schemas while `use` runs; it is given the environment in which terraform finds them. */
export async function withStub<T>(tools: Toolchain, use: (env: NodeJS.ProcessEnv) => Promise<T>): Promise<T> {
  const child = spawn(process.execPath, [SERVER, tools.schemaFile, tools.packages], {
    stdio: ["pipe", "pipe", "inherit"],
  });
  const ended = once(child, "exit");
  try {
    const reattach = await firstLine(child);
    return await use({
      ...process.env,
      // Neither a developer's own mirror nor a call home has anything to do with this.
      TF_CLI_CONFIG_FILE: "/dev/null",
      CHECKPOINT_DISABLE: "1",
      TF_IN_AUTOMATION: "1",
      TF_REATTACH_PROVIDERS: reattach,
    });
  } finally {
    child.stdin?.end();
    const timer = setTimeout(() => child.kill("SIGKILL"), 5_000);
    await ended;
    clearTimeout(timer);
  }
}

function firstLine(child: ChildProcess): Promise<string> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => reject(new Error("the schema stub does not start")), READY_WITHIN_MS);
    let text = "";
    child.stdout?.on("data", (chunk: Buffer) => {
      text += chunk.toString();
      const end = text.indexOf("\n");
      if (end < 0) return;
      clearTimeout(timer);
      resolve(text.slice(0, end));
    });
    child.once("exit", (status) => {
      clearTimeout(timer);
      reject(new Error(`the schema stub ended with ${status}`));
    });
  });
}
