import type { ChildProcess } from "node:child_process";

/** How a program ended, and what it said. */
export interface Outcome {
  readonly status: number;
  readonly stdout: string;
  readonly stderr: string;
}

/**
 * Gives a child its input and waits for its end. "missing": there is no such program; "killed": it was, by its deadline
 * or by somebody else.
 */
export async function outcomeOf(
  child: ChildProcess,
  deadlineMs: number,
  input?: string,
): Promise<Outcome | "missing" | "killed"> {
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
  const timer = setTimeout(() => child.kill("SIGKILL"), deadlineMs);
  try {
    const status = await new Promise<number | null>((resolve, reject) => {
      child.once("error", reject);
      child.once("close", resolve);
    });
    return status === null ? "killed" : { status, ...output };
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return "missing";
    throw error;
  } finally {
    clearTimeout(timer);
  }
}
